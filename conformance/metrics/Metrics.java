import java.time.Duration; import java.util.*;
import org.apache.kafka.clients.admin.*; import org.apache.kafka.clients.consumer.*; import org.apache.kafka.clients.producer.*; import org.apache.kafka.common.*; import org.apache.kafka.common.serialization.*;

/** Prints what a producer and a consumer of Kafka's report: `role<TAB>group<TAB>name<TAB>tags`. Argument: where the broker is. */
public class Metrics {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> common = Map.of("bootstrap.servers", arguments[0], "client.id", "metrics");
        String topic = "metrics-" + UUID.randomUUID();
        try (Admin admin = Admin.create(common)) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            print("admin", admin.metrics());
        }
        Map<String, Object> writing = new HashMap<>(common);
        writing.put("compression.type", "lz4");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, new byte[100]));
            producer.flush();
            print("producer", producer.metrics());
        }
        Map<String, Object> reading = new HashMap<>(common);
        reading.put("group.id", topic);
        reading.put("auto.offset.reset", "earliest");
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            int seen = 0;
            while (seen < 100) seen += consumer.poll(Duration.ofSeconds(1)).count();
            consumer.commitSync();
            consumer.poll(Duration.ofMillis(100));
            print("consumer", consumer.metrics());
        }
    }

    static void print(String role, Map<MetricName, ? extends Metric> metrics) {
        Set<String> lines = new TreeSet<>();
        for (MetricName name : metrics.keySet())
            lines.add(role + "\t" + name.group() + "\t" + name.name() + "\t" + String.join(",", new TreeSet<>(name.tags().keySet())));
        lines.forEach(System.out::println);
    }
}
