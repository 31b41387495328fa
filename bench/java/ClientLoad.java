// The Java client, as a program of its users has it. Prints one line of JSON, as the other clients' processes do.
//
// java ClientLoad.java TASK BOOTSTRAP TOPIC PARTITIONS VALUES SETTINGS SECONDS WARM_UP_SECONDS RECORDS
// VALUES is a file of values, each with its length in front; SETTINGS are KEY=VALUE with commas between them.

import java.io.DataInputStream;
import java.io.EOFException;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class ClientLoad {
    static final int RUN = 64;

    static String topic;
    static int partitions;
    static List<byte[]> values = new ArrayList<>();
    static Map<String, Object> settings = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        topic = arguments[2];
        partitions = Integer.parseInt(arguments[3]);
        try (var file = new DataInputStream(Files.newInputStream(Path.of(arguments[4])))) {
            while (true) {
                byte[] value = new byte[file.readInt()];
                file.readFully(value);
                values.add(value);
            }
        } catch (EOFException end) {
            // All are read.
        }
        settings.put("bootstrap.servers", arguments[1]);
        for (String pair : arguments[5].split(",")) {
            String[] parts = pair.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        double seconds = Double.parseDouble(arguments[6]);
        double warmUp = Double.parseDouble(arguments[7]);
        long records = Long.parseLong(arguments[8]);
        switch (arguments[0]) {
            case "produce" -> {
                produce(warmUp);
                System.out.println(produce(seconds));
            }
            case "consume" -> System.out.println(consume(records));
            case "await" -> System.out.println(await(warmUp, seconds));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    static KafkaProducer<byte[], byte[]> producer() {
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static String produce(double seconds) throws Exception {
        Meter meter = new Meter();
        long records = 0;
        try (var producer = producer()) {
            int partition = 0, next = 0;
            while (meter.seconds() < seconds) {
                for (int i = 0; i < RUN; i++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, values.get(next)));
                    next = (next + 1) % values.size();
                }
                partition = (partition + 1) % partitions;
                records += RUN;
            }
            producer.flush();
            double failed = (double) producer.metrics().entrySet().stream()
                .filter(metric -> metric.getKey().name().equals("record-error-total")
                    && metric.getKey().group().equals("producer-metrics"))
                .findFirst().orElseThrow().getValue().metricValue();
            if (failed != 0) {
                throw new IllegalStateException(failed + " records were given up");
            }
            return meter.report(records, new int[0]);
        }
    }

    static String await(double warmUp, double seconds) throws Exception {
        int[] micros = new int[10_000_000];
        int count = 0;
        boolean warm = false;
        Meter meter = new Meter();
        try (var producer = producer()) {
            for (int next = 0; ; next = (next + 1) % values.size()) {
                if (!warm && meter.seconds() >= warmUp) {
                    warm = true;
                    meter = new Meter();
                    count = 0;
                }
                if (warm && meter.seconds() >= seconds) {
                    return meter.report(count, Arrays.copyOf(micros, count));
                }
                long sent = System.nanoTime();
                producer.send(new ProducerRecord<>(topic, 0, null, values.get(next))).get();
                micros[count++] = (int) ((System.nanoTime() - sent) / 1000);
            }
        }
    }

    static String consume(long records) throws Exception {
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < partitions; partition++) {
                all.add(new TopicPartition(topic, partition));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long read = 0, before = 0, bytes = 0;
            Meter meter = new Meter();
            while (read < records) {
                var polled = consumer.poll(Duration.ofSeconds(30));
                if (polled.isEmpty()) {
                    throw new IllegalStateException(read + " of " + records + " records came, then nothing");
                }
                for (var record : polled) {
                    bytes += record.value().length;
                }
                read += polled.count();
                if (before == 0 && read >= records / 10) {
                    before = read;
                    meter = new Meter();
                }
            }
            if (bytes == 0) {
                throw new IllegalStateException("no values came");
            }
            return meter.report(read - before, new int[0]);
        }
    }

    /** Measures this process from its making on. */
    static class Meter {
        final long started = System.nanoTime();
        final double cpu = cpuSeconds();

        double seconds() {
            return (System.nanoTime() - started) / 1e9;
        }

        static double cpuSeconds() {
            var system = (com.sun.management.OperatingSystemMXBean)
                java.lang.management.ManagementFactory.getOperatingSystemMXBean();
            return system.getProcessCpuTime() / 1e9;
        }

        String report(long records, int[] micros) throws Exception {
            double elapsed = seconds(), used = cpuSeconds() - cpu, rss = 0;
            int threads = 0;
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmHWM:")) {
                    rss = Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
                }
                if (line.startsWith("Threads:")) {
                    threads = Integer.parseInt(line.replaceAll("[^0-9]", ""));
                }
            }
            Arrays.sort(micros);
            double p50 = micros.length == 0 ? 0 : micros[micros.length / 2] / 1000.0;
            double p99 = micros.length == 0 ? 0 : micros[(int) (micros.length * 0.99)] / 1000.0;
            return String.format(Locale.ROOT,
                "{\"records\":%d,\"seconds\":%f,\"cpu_seconds\":%f,\"peak_rss_mib\":%f,\"threads\":%d,"
                    + "\"p50_ms\":%f,\"p99_ms\":%f}",
                records, elapsed, used, rss, threads, p50, p99);
        }
    }
}
