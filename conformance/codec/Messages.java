// Kafka's own codec as the judge of ours. Runs on Kafka's jars as a single-file program:
//
//   Messages write SEED COUNT FILE   every message of Kafka's in every version: defaults, smallest, edges,
//                                    COUNT random ones
//   Messages check FILE              reads each and writes it again; prints those that do not come back
//
// A file is a row of: kind (one byte), name, version, bytes; the name and the bytes have a four-byte length
// in front. What is written comes out of Kafka's generated writers; the values come from the schemas that
// stand in the generated classes, so nothing here knows any message.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.Supplier;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.NullableSchema;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class Messages {
    /** How the values of a message are chosen; the first letter stands in the file. */
    enum Kind { DEFAULT, SMALLEST, EDGE, RANDOM }

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "write" -> write(Long.parseLong(arguments[1]), Integer.parseInt(arguments[2]), Path.of(arguments[3]));
            case "check" -> check(Path.of(arguments[1]));
            default -> throw new IllegalArgumentException("write SEED COUNT FILE, or check FILE");
        }
    }

    static Map<String, Supplier<Message>> messages() {
        Map<String, Supplier<Message>> all = new LinkedHashMap<>();
        for (ApiMessageType api : ApiMessageType.values()) {
            // The four whose versions were all removed have schemas without fields.
            if (api.lowestSupportedVersion() > api.highestSupportedVersion(true)) continue;
            add(all, api::newRequest);
            add(all, api::newResponse);
        }
        for (var type : org.apache.kafka.common.metadata.MetadataRecordType.values()) {
            add(all, type::newMetadataRecord);
        }
        for (var type : org.apache.kafka.coordinator.group.generated.CoordinatorRecordType.values()) {
            add(all, type::newRecordKey);
            add(all, type::newRecordValue);
        }
        for (var type : org.apache.kafka.coordinator.transaction.generated.CoordinatorRecordType.values()) {
            add(all, type::newRecordKey);
            add(all, type::newRecordValue);
        }
        for (var type : org.apache.kafka.coordinator.share.generated.CoordinatorRecordType.values()) {
            add(all, type::newRecordKey);
            add(all, type::newRecordValue);
        }
        for (var type : org.apache.kafka.server.log.remote.metadata.storage.generated.MetadataRecordType.values()) {
            add(all, type::newMetadataRecord);
        }
        List<Supplier<Message>> others = List.of(
            RequestHeaderData::new, ResponseHeaderData::new, ConsumerProtocolSubscription::new,
            ConsumerProtocolAssignment::new, ControlRecordTypeSchema::new, EndTxnMarker::new,
            LeaderChangeMessage::new, SnapshotHeaderRecord::new, SnapshotFooterRecord::new, KRaftVersionRecord::new,
            VotersRecord::new, DefaultPrincipalData::new,
            org.apache.kafka.server.log.remote.metadata.storage.generated.ProducerSnapshot::new,
            org.apache.kafka.raft.generated.QuorumStateData::new);
        others.forEach(supplier -> add(all, supplier));
        return all;
    }

    static void add(Map<String, Supplier<Message>> all, Supplier<Message> supplier) {
        String name = supplier.get().getClass().getSimpleName().replaceFirst("(Request|Response|Header)Data$", "$1");
        if (all.put(name, supplier) != null) throw new IllegalStateException(name + " is there twice");
    }

    static void write(long seed, int count, Path file) throws Exception {
        int written = 0;
        try (var out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file)))) {
            for (var entry : messages().entrySet()) {
                Message empty = entry.getValue().get();
                var schemas = (Schema[]) empty.getClass().getField("SCHEMAS").get(null);
                for (short version = empty.lowestSupportedVersion(); version < schemas.length; version++) {
                    var random = new Random(seed ^ (31L * entry.getKey().hashCode() + version));
                    for (int i = 0; i < count + 3; i++) {
                        Kind kind = Kind.values()[Math.min(i, 3)];
                        Message message = entry.getValue().get();
                        if (kind != Kind.DEFAULT) {
                            var value = (Struct) new Values(kind, random).of(schemas[version]);
                            ByteBuffer buffer = ByteBuffer.allocate(schemas[version].sizeOf(value));
                            schemas[version].write(buffer, value);
                            buffer.flip();
                            message.read(new ByteBufferAccessor(buffer), version);
                        }
                        put(out, kind, entry.getKey(), version, MessageUtil.toByteBufferAccessor(message, version).buffer());
                        written++;
                    }
                }
            }
        }
        System.out.println(written);
    }

    static void put(DataOutputStream out, Kind kind, String name, short version, ByteBuffer bytes) throws Exception {
        out.writeByte(kind.name().charAt(0));
        out.writeInt(name.length());
        out.writeBytes(name);
        out.writeShort(version);
        out.writeInt(bytes.remaining());
        out.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
    }

    static void check(Path file) throws Exception {
        Map<String, Supplier<Message>> messages = messages();
        int checked = 0;
        int wrong = 0;
        try (var in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file)))) {
            for (int kind = in.read(); kind >= 0; kind = in.read()) {
                String name = new String(in.readNBytes(in.readInt()));
                short version = in.readShort();
                byte[] bytes = in.readNBytes(in.readInt());
                String complaint = complaint(messages.get(name).get(), version, bytes);
                if (complaint != null) {
                    System.out.println(name + " v" + version + ": " + complaint);
                    wrong++;
                }
                checked++;
            }
        }
        System.out.println(checked + " checked, " + wrong + " wrong");
        if (wrong > 0) System.exit(1);
    }

    static String complaint(Message message, short version, byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        try {
            message.read(new ByteBufferAccessor(buffer), version);
        } catch (RuntimeException e) {
            return "cannot be read: " + e;
        }
        if (buffer.hasRemaining()) return buffer.remaining() + " bytes are left";
        ByteBuffer again = MessageUtil.toByteBufferAccessor(message, version).buffer();
        return again.equals(ByteBuffer.wrap(bytes)) ? null : "is written differently: " + message;
    }

    /** Values that fit a type of a schema. */
    static class Values {
        private static final String[] STRINGS = {"", "a", "tøpic-ñ", "名前", "x".repeat(130), "\uD83D\uDE00"};
        private final Kind kind;
        private final Random random;

        Values(Kind kind, Random random) {
            this.kind = kind;
            this.random = random;
        }

        Object of(Type type) {
            if (type.isNullable() && isNull()) return null;
            if (type instanceof Schema schema) return struct(schema);
            if (type instanceof TaggedFields tagged) return tagged(tagged);
            if (type.arrayElementType().isPresent()) return array(type.arrayElementType().get());
            return switch (type.toString().replace("COMPACT_", "").replace("NULLABLE_", "")) {
                case "BOOLEAN" -> number(2) % 2 != 0;
                case "INT8" -> (byte) number(Byte.MAX_VALUE);
                case "INT16" -> (short) number(Short.MAX_VALUE);
                case "UINT16" -> (int) (number(Short.MAX_VALUE) & 0xffff);
                case "INT32" -> (int) number(Integer.MAX_VALUE);
                case "UINT32" -> number(Integer.MAX_VALUE) & 0xffffffffL;
                case "INT64" -> number(Long.MAX_VALUE);
                case "FLOAT64" -> kind == Kind.EDGE ? Double.MIN_VALUE : (double) number(Integer.MAX_VALUE) / 3;
                case "UUID" -> new Uuid(number(Long.MAX_VALUE), number(Long.MAX_VALUE));
                case "STRING" -> string();
                case "BYTES" -> ByteBuffer.wrap(bytes());
                case "RECORDS" -> MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
                default -> throw new IllegalStateException("no value for " + type);
            };
        }

        private boolean isNull() {
            return kind == Kind.SMALLEST || kind == Kind.RANDOM && random.nextInt(4) == 0;
        }

        private Struct struct(Schema schema) {
            var struct = new Struct(schema);
            for (BoundField field : schema.fields()) struct.set(field, of(field.def.type));
            return struct;
        }

        private Object[] array(Type element) {
            boolean isPrimitive = !(element instanceof Schema);
            int count = switch (kind) {
                case DEFAULT, SMALLEST -> 0;
                case EDGE -> isPrimitive ? 130 : 2;
                case RANDOM -> random.nextInt(4);
            };
            var elements = new Object[count];
            Arrays.setAll(elements, i -> of(element));
            return elements;
        }

        private Map<Integer, Object> tagged(TaggedFields section) {
            var fields = new TreeMap<Integer, Object>();
            if (kind == Kind.SMALLEST) return fields;
            for (Map.Entry<Integer, Field> known : section.fields().entrySet()) {
                if (kind != Kind.EDGE && random.nextBoolean()) continue;
                Type type = known.getValue().type;
                // Kafka's schema and its own reader disagree on how a struct in a tagged field is null.
                Object value = type instanceof NullableSchema schema ? struct(schema) : of(type);
                fields.put(known.getKey(), value);
            }
            if (kind == Kind.EDGE || random.nextInt(4) == 0) {
                int tag = 100 + random.nextInt(1_000_000);
                fields.put(tag, new RawTaggedField(tag, bytes()));
            }
            return fields;
        }

        private String string() {
            return switch (kind) {
                case DEFAULT, SMALLEST -> "";
                case EDGE -> "e".repeat(random.nextInt(50) == 0 ? Short.MAX_VALUE : 127);
                case RANDOM -> STRINGS[random.nextInt(STRINGS.length)];
            };
        }

        private byte[] bytes() {
            var bytes = new byte[switch (kind) {
                case DEFAULT, SMALLEST -> 0;
                case EDGE -> random.nextInt(20) == 0 ? 20_000 : 128;
                case RANDOM -> random.nextInt(3) == 0 ? random.nextInt(2_000) : random.nextInt(20);
            }];
            random.nextBytes(bytes);
            return bytes;
        }

        /** Within the type's range; `max` is its largest value. */
        private long number(long max) {
            long[] edges = {0, 1, -1, max, -max - 1};
            if (kind == Kind.SMALLEST) return 0;
            if (kind == Kind.EDGE || random.nextInt(3) == 0) return edges[random.nextInt(edges.length)];
            return random.nextLong() & max;
        }
    }
}
