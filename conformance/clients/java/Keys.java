import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/**
 * Writes conformance/clients/keys.tsv: keys, and the partitions of 12 to which Kafka's own Java producer
 * sends them. Run on Kafka's jars: java -cp 'LIBS/*' Keys.java >keys.tsv
 */
public class Keys {
    static final int PARTITIONS = 12;

    public static void main(String[] arguments) {
        Random random = new Random(20_251_124);
        String letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/";
        StringBuilder out = new StringBuilder();
        // Every length from 1 to 40: murmur2 takes four bytes at a time and treats the rest apart.
        for (int length = 1; length <= 40; length++) {
            for (int i = 0; i < 4; i++) {
                StringBuilder key = new StringBuilder();
                for (int j = 0; j < length; j++) key.append(letters.charAt(random.nextInt(letters.length())));
                line(out, key.toString());
            }
        }
        // Bytes above 127, which a hash over signed bytes must not extend.
        for (String key : new String[] {"é", "ключ", "鍵", "größe", "🔑", "naïve café", "ÿÿÿÿ", "\u0080\u0081\u0082"}) line(out, key);
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8), 0, out.toString().getBytes(StandardCharsets.UTF_8).length);
        System.out.flush();
    }

    private static void line(StringBuilder out, String key) {
        int partition = BuiltInPartitioner.partitionForKey(key.getBytes(StandardCharsets.UTF_8), PARTITIONS);
        out.append(key).append('\t').append(partition).append('\n');
    }
}
