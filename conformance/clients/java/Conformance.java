import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own Java client, 4.3.1 and (the same source) 2.8.2.
 * java -cp 'LIBS/*' Conformance.java NAME BOOTSTRAP KEYS_TSV [CASE...]
 */
public class Conformance {
    static final Duration WAIT = Duration.ofSeconds(30);
    static final Duration POLL = Duration.ofMillis(100);
    /** acks=0 comes last: what reaches a new partition too early is dropped, and only here nobody would be told. */
    static final List<String> ACKS = List.of("all", "1", "0");

    interface Case { Object run() throws Exception; }

    final String name, bootstrap, keysFile;
    final Admin admin;
    final Map<String, Producer<byte[], byte[]>> producers = new HashMap<>();

    Conformance(String name, String bootstrap, String keysFile) {
        this.name = name;
        this.bootstrap = bootstrap;
        this.keysFile = keysFile;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) throws Exception {
        Conformance conformance = new Conformance(arguments[0], arguments[1], arguments[2]);
        Set<String> only = Set.of(Arrays.copyOfRange(arguments, 3, arguments.length));
        conformance.run(only);
        conformance.producers.values().forEach(Producer::close);
        conformance.admin.close();
    }

    void run(Set<String> only) {
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("admin_create_and_describe", this::createAndDescribe);
        cases.put("admin_alter_config", this::alterConfig);
        cases.put("admin_add_partitions", this::addPartitions);
        cases.put("admin_delete_topic", this::deleteTopic);
        cases.put("keys_to_java_partitions", this::keysToJavaPartitions);
        cases.put("headers", this::headers);
        cases.put("duplicate_header_keys", this::duplicateHeaderKeys);
        cases.put("tombstones", this::tombstones);
        cases.put("empty_and_null_keys", this::emptyAndNullKeys);
        cases.put("consume_from_earliest", this::consumeFromEarliest);
        cases.put("consume_from_latest", this::consumeFromLatest);
        cases.put("consume_from_timestamp", this::consumeFromTimestamp);
        cases.put("group_of_three_grows_and_shrinks", this::groupOfThree);
        cases.put("commit_and_resume", this::commitAndResume);
        cases.put("error_unknown_topic", this::unknownTopic);
        cases.put("error_invalid_topic_name", this::invalidTopicName);
        cases.put("error_record_too_large", this::recordTooLarge);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd"))
            for (String acks : ACKS) cases.put("produce_" + codec + "_acks_" + acks, () -> produceAndRead(codec, acks));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        cases.forEach((id, test) -> {
            if (!only.isEmpty() && !only.contains(id)) return;
            long started = System.nanoTime();
            String status = "ok", detail = "";
            try {
                Object said = test.run();
                if (said != null) detail = said.toString();
            } catch (Throwable failure) {
                status = "fail";
                detail = failure + " " + Arrays.stream(failure.getStackTrace()).limit(4).collect(Collectors.toList());
            }
            long milliseconds = (System.nanoTime() - started) / 1_000_000;
            out.printf("{\"case\":%s,\"status\":%s,\"detail\":%s,\"milliseconds\":%d}%n", json(id), json(status), json(detail), milliseconds);
        });
    }

    // --- administration

    Object createAndDescribe() throws Exception {
        String topic = topic("created", 3, Map.of("retention.ms", "7200000"));
        equal(config(topic, "retention.ms"), "7200000", "retention.ms");
        check(admin.listTopics().names().get().contains(topic), "the topic is not listed");
        return "3 partitions, retention.ms as set";
    }

    Object alterConfig() throws Exception {
        String topic = topic("altered", 1, Map.of("retention.ms", "7200000"));
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("max.message.bytes", "65536"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource(topic), List.of(set))).all().get();
        eventually("the new value", () -> "65536".equals(config(topic, "max.message.bytes")));
        equal(config(topic, "retention.ms"), "7200000", "what was not named");
        return null;
    }

    Object addPartitions() throws Exception {
        String topic = topic("grown", 2, Map.of());
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        eventually("5 partitions", () -> partitionCount(topic) == 5);
        return null;
    }

    Object deleteTopic() throws Exception {
        String topic = topic("deleted", 1, Map.of());
        admin.deleteTopics(List.of(topic)).all().get();
        eventually("the topic to be gone", () -> !get(admin.listTopics().names()).contains(topic));
        return null;
    }

    // --- writing and reading

    Object produceAndRead(String codec, String acks) throws Exception {
        String topic = name + "-codec-" + codec;
        if (!admin.listTopics().names().get().contains(topic)) topic("codec-" + codec, 3, Map.of());
        int partition = ACKS.indexOf(acks);
        List<String> values = IntStream.range(0, 50).mapToObj(i -> (codec + " " + acks + " " + i + " ").repeat(20)).collect(Collectors.toList());
        List<RecordMetadata> sent = send(producer(codec, acks), values.stream().map(v -> new ProducerRecord<byte[], byte[]>(topic, partition, null, bytes(v))).collect(Collectors.toList()));
        List<Long> offsets = offsetsTo(50);
        if (!acks.equals("0")) equal(sent.stream().map(RecordMetadata::offset).collect(Collectors.toList()), offsets, "offsets of the acks");
        List<ConsumerRecord<byte[], byte[]>> found = read(topic, partition, 50, Start.EARLIEST, null);
        equal(found.stream().map(r -> string(r.value())).collect(Collectors.toList()), values, "values read back");
        equal(found.stream().map(ConsumerRecord::offset).collect(Collectors.toList()), offsets, "offsets read back");
        return null;
    }

    Object keysToJavaPartitions() throws Exception {
        String topic = topic("keys", 12, Map.of());
        List<String[]> lines = Files.readAllLines(Path.of(keysFile)).stream().map(l -> l.split("\t")).collect(Collectors.toList());
        List<RecordMetadata> sent = send(producer("none", "all"), lines.stream().map(l -> new ProducerRecord<>(topic, bytes(l[0]), bytes("v"))).collect(Collectors.toList()));
        for (int i = 0; i < lines.size(); i++) equal(sent.get(i).partition(), Integer.parseInt(lines.get(i)[1]), "partition of " + lines.get(i)[0]);
        check(sent.size() == 168, "168 keys were expected");
        return sent.size() + " keys over 12 partitions";
    }

    Object headers() throws Exception {
        List<Header> headers = List.of(new RecordHeader("trace", new byte[] {0, -1, 16}), new RecordHeader("null", (byte[]) null),
            new RecordHeader("empty", new byte[0]), new RecordHeader("größe", bytes("größe")));
        List<ConsumerRecord<byte[], byte[]>> found = roundTrip("headers", headers);
        equal(text(found.get(0).headers()), text(headers), "headers");
        return null;
    }

    Object duplicateHeaderKeys() throws Exception {
        List<Header> headers = List.of(new RecordHeader("a", bytes("1")), new RecordHeader("b", bytes("2")), new RecordHeader("a", bytes("3")), new RecordHeader("a", bytes("1")));
        equal(text(roundTrip("duplicate-headers", headers).get(0).headers()), text(headers), "headers");
        return null;
    }

    List<ConsumerRecord<byte[], byte[]>> roundTrip(String suffix, List<Header> headers) throws Exception {
        String topic = topic(suffix, 1, Map.of());
        send(producer("none", "all"), List.of(new ProducerRecord<>(topic, null, null, bytes("k"), bytes("v"), headers)));
        return read(topic, 0, 1, Start.EARLIEST, null);
    }

    Object tombstones() throws Exception {
        String topic = topic("tombstones", 1, Map.of("cleanup.policy", "compact"));
        List<byte[]> values = Arrays.asList(bytes("alive"), null, new byte[0]);
        send(producer("none", "all"), values.stream().map(v -> new ProducerRecord<>(topic, bytes("k"), v)).collect(Collectors.toList()));
        equal(read(topic, 0, 3, Start.EARLIEST, null).stream().map(r -> string(r.value())).collect(Collectors.toList()), Arrays.asList("alive", null, ""), "values");
        return null;
    }

    Object emptyAndNullKeys() throws Exception {
        String topic = topic("keys-empty-null", 1, Map.of());
        send(producer("none", "all"), List.of(new ProducerRecord<>(topic, 0, new byte[0], bytes("1")), new ProducerRecord<>(topic, 0, null, bytes("2"))));
        equal(read(topic, 0, 2, Start.EARLIEST, null).stream().map(r -> string(r.key())).collect(Collectors.toList()), Arrays.asList("", null), "keys");
        return null;
    }

    Object consumeFromEarliest() throws Exception {
        String topic = topic("earliest", 1, Map.of());
        write(topic, "", 10);
        equal(values(read(topic, 0, 10, Start.EARLIEST, null)), numbered("", 0, 10), "values");
        return null;
    }

    Object consumeFromLatest() throws Exception {
        String topic = topic("latest", 1, Map.of());
        write(topic, "old", 5);
        List<ConsumerRecord<byte[], byte[]>> found = read(topic, 0, 3, Start.LATEST, () -> write(topic, "new", 3));
        equal(values(found), numbered("new", 0, 3), "values");
        equal(found.get(0).offset(), 5L, "offset");
        return null;
    }

    Object consumeFromTimestamp() throws Exception {
        String topic = topic("timestamps", 1, Map.of());
        long base = System.currentTimeMillis() - 100_000;
        send(producer("none", "all"), IntStream.range(0, 10).mapToObj(i -> new ProducerRecord<byte[], byte[]>(topic, 0, base + i * 1000L, null, bytes("" + i))).collect(Collectors.toList()));
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Consumer<byte[], byte[]> consumer = consumer(Map.of())) {
            equal(consumer.offsetsForTimes(Map.of(partition, base + 3500)).get(partition).offset(), 4L, "offset after a timestamp");
            equal(consumer.offsetsForTimes(Map.of(partition, base + 3000)).get(partition).offset(), 3L, "offset of a timestamp");
            equal(consumer.offsetsForTimes(Map.of(partition, base + 100_000_000)).get(partition), null, "offset after all timestamps");
        }
        List<ConsumerRecord<byte[], byte[]>> found = read(topic, 0, 6, Start.at(4), null);
        equal(values(found), numbered("", 4, 10), "values");
        equal(found.get(0).timestamp(), base + 4000, "timestamp");
        return null;
    }

    // --- groups

    Object groupOfThree() throws Exception {
        String topic = topic("group", 6, Map.of()), group = name + "-group";
        List<Member> members = new ArrayList<>();
        try {
            members.add(new Member(group, topic));
            eventually("one member with all partitions", () -> shares(members, 6));
            writeAndAwait(topic, "one", members);
            members.add(new Member(group, topic));
            members.add(new Member(group, topic));
            eventually("three members with two partitions each", () -> shares(members, 2, 2, 2));
            writeAndAwait(topic, "three", members);
            members.get(2).end();
            eventually("two members with three partitions each", () -> shares(members, 3, 3));
            members.get(1).end();
            eventually("one member with all partitions again", () -> shares(members, 6));
            writeAndAwait(topic, "last", members);
        } finally {
            for (Member member : members) member.end();
        }
        for (Member member : members) check(member.failure == null, "a member failed: " + member.failure);
        return null;
    }

    void writeAndAwait(String topic, String prefix, List<Member> members) throws Exception {
        List<String> all = numbered(prefix, 0, 60);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 60; i++) records.add(new ProducerRecord<>(topic, i % 6, null, bytes(all.get(i))));
        send(producer("none", "all"), records);
        eventually("all of " + prefix, () -> members.stream().flatMap(m -> m.values.stream()).collect(Collectors.toSet()).containsAll(all));
    }

    static boolean shares(List<Member> members, Integer... sizes) {
        List<Set<Integer>> parts = members.stream().filter(m -> !m.stopping).map(m -> m.partitions).collect(Collectors.toList());
        Set<Integer> union = parts.stream().flatMap(Set::stream).collect(Collectors.toSet());
        return union.size() == 6 && parts.stream().map(Set::size).sorted().collect(Collectors.toList()).equals(Arrays.asList(sizes));
    }

    /** A group member polled by a thread of its own, as members are in life. */
    class Member extends Thread {
        final Set<String> values = ConcurrentHashMap.newKeySet();
        final String group, topic;
        volatile Set<Integer> partitions = Set.of();
        volatile boolean stopping;
        volatile Throwable failure;

        Member(String group, String topic) {
            this.group = group;
            this.topic = topic;
            setDaemon(true);
            start();
        }

        @Override public void run() {
            try (Consumer<byte[], byte[]> consumer = consumer(Map.of("group.id", group, "auto.offset.reset", "earliest",
                    "enable.auto.commit", "true", "auto.commit.interval.ms", "200", "heartbeat.interval.ms", "200", "session.timeout.ms", "6000"))) {
                consumer.subscribe(List.of(topic));
                while (!stopping) {
                    consumer.poll(POLL).forEach(r -> values.add(string(r.value())));
                    partitions = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
                }
            } catch (Throwable thrown) {
                failure = thrown;
            }
        }

        void end() throws InterruptedException {
            stopping = true;
            join(WAIT.toMillis());
        }
    }

    Object commitAndResume() throws Exception {
        String topic = topic("resume", 1, Map.of());
        Map<String, String> settings = Map.of("group.id", name + "-resume", "auto.offset.reset", "earliest", "enable.auto.commit", "false");
        TopicPartition partition = new TopicPartition(topic, 0);
        write(topic, "", 10);
        try (Consumer<byte[], byte[]> first = consumer(settings)) {
            first.subscribe(List.of(topic));
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            eventually("four records", () -> { first.poll(POLL).forEach(found::add); return found.size() >= 4; });
            first.commitSync(Map.of(partition, new OffsetAndMetadata(4, Optional.of(0), "half way")));
        }
        try (Consumer<byte[], byte[]> second = consumer(settings)) {
            second.subscribe(List.of(topic));
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            eventually("the rest", () -> { second.poll(POLL).forEach(found::add); return found.size() >= 6; });
            OffsetAndMetadata committed = second.committed(Set.of(partition)).get(partition);
            equal(committed, new OffsetAndMetadata(4, Optional.of(0), "half way"), "what was committed");
            equal(values(found), numbered("", 4, 10), "records after the commit");
        }
        return null;
    }

    // --- errors

    Object unknownTopic() throws Exception {
        try {
            send(producer("none", "all"), List.of(new ProducerRecord<>("no-such-topic", bytes("v"))));
        } catch (ExecutionException | TimeoutException told) {
            // The producer looks for the topic until max.block.ms is over.
            check(told.toString().contains("no-such-topic not present in metadata"), told.toString());
            return null;
        }
        throw new AssertionError("it went well");
    }

    Object invalidTopicName() throws Exception {
        return fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("not a topic!", 1, (short) 1))).all().get());
    }

    Object recordTooLarge() throws Exception {
        String topic = topic("small", 1, Map.of("max.message.bytes", "10000"));
        fails(RecordTooLargeException.class, () -> send(producer("none", "all"), List.of(new ProducerRecord<>(topic, new byte[50_000]))));
        equal(send(producer("none", "all"), List.of(new ProducerRecord<>(topic, bytes("small")))).get(0).offset(), 0L, "the partition goes on");
        return null;
    }

    static Object fails(Class<? extends Throwable> expected, Case action) throws Exception {
        try {
            action.run();
        } catch (ExecutionException told) {
            check(expected.isInstance(told.getCause()), "expected " + expected + ", found " + told.getCause());
            return null;
        }
        throw new AssertionError("it went well");
    }

    // --- the client

    String topic(String suffix, int partitions, Map<String, String> configs) throws Exception {
        String topic = name + "-" + suffix;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        eventually(topic + " to have leaders", () -> partitionCount(topic) == partitions);
        return topic;
    }

    int partitionCount(String topic) {
        try {
            DescribeTopicsResult result = admin.describeTopics(List.of(topic));
            // Kafka 3.1 brought allTopicNames(), 4.0 took all() away.
            boolean newer = Arrays.stream(DescribeTopicsResult.class.getMethods()).anyMatch(m -> m.getName().equals("allTopicNames"));
            Object future = DescribeTopicsResult.class.getMethod(newer ? "allTopicNames" : "all").invoke(result);
            TopicDescription found = (TopicDescription) ((Map<?, ?>) ((KafkaFuture<?>) future).get()).get(topic);
            return (int) found.partitions().stream().filter(p -> p.leader() != null && !p.leader().isEmpty()).count();
        } catch (ExecutionException unknown) {
            return -1;
        } catch (ReflectiveOperationException | InterruptedException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    String config(String topic, String key) {
        return get(admin.describeConfigs(List.of(resource(topic))).all()).get(resource(topic)).get(key).value();
    }

    static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    Producer<byte[], byte[]> producer(String codec, String acks) {
        return producers.computeIfAbsent(codec + acks, key -> new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "compression.type", codec, "acks", acks, "enable.idempotence", Boolean.toString(acks.equals("all")),
                "max.request.size", "5000000", "linger.ms", "5", "max.block.ms", "1500"),
            new ByteArraySerializer(), new ByteArraySerializer()));
    }

    static List<RecordMetadata> send(Producer<byte[], byte[]> producer, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> record : records) futures.add(producer.send(record));
        List<RecordMetadata> sent = new ArrayList<>();
        for (Future<RecordMetadata> future : futures) sent.add(future.get(20, TimeUnit.SECONDS));
        return sent;
    }

    void write(String topic, String prefix, int count) throws Exception {
        send(producer("none", "all"), numbered(prefix, 0, count).stream().map(v -> new ProducerRecord<byte[], byte[]>(topic, bytes(v))).collect(Collectors.toList()));
    }

    Consumer<byte[], byte[]> consumer(Map<String, String> settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", "false", "auto.offset.reset", "none"));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    interface Start {
        Start EARLIEST = (consumer, partition) -> consumer.seekToBeginning(List.of(partition));
        Start LATEST = (consumer, partition) -> consumer.seekToEnd(List.of(partition));
        static Start at(long offset) { return (consumer, partition) -> consumer.seek(partition, offset); }
        void seek(Consumer<byte[], byte[]> consumer, TopicPartition partition);
    }

    interface Step { void run() throws Exception; }

    List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, int count, Start start, Step afterSeek) throws Exception {
        TopicPartition place = new TopicPartition(topic, partition);
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        try (Consumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(place));
            start.seek(consumer, place);
            consumer.position(place);
            if (afterSeek != null) afterSeek.run();
            eventually(count + " records", () -> { consumer.poll(POLL).forEach(found::add); return found.size() >= count; });
        }
        return found;
    }

    // --- small things

    static <T> T get(KafkaFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException | ExecutionException failure) {
            throw new IllegalStateException(failure);
        }
    }

    static void eventually(String what, BooleanSupplier holds) throws InterruptedException {
        long deadline = System.nanoTime() + WAIT.toNanos();
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, "waited in vain for " + what);
            Thread.sleep(20);
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }

    static void equal(Object found, Object expected, String what) {
        check(Objects.equals(found, expected), what + ": expected " + expected + ", found " + found);
    }

    static List<Long> offsetsTo(long count) {
        return LongStream.range(0, count).boxed().collect(Collectors.toList());
    }

    static List<String> numbered(String prefix, int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> prefix + i).collect(Collectors.toList());
    }

    static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> string(r.value())).collect(Collectors.toList());
    }

    static List<String> text(Iterable<Header> headers) {
        List<String> all = new ArrayList<>();
        headers.forEach(h -> all.add(h.key() + "=" + Arrays.toString(h.value())));
        return all;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String string(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < 0x20) out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
