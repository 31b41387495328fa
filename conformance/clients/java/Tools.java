import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM, since starting one takes longer than what most of
 * them do. Reads a line {"class", "args", "input"} and writes a line {"code", "stdout", "stderr"} for each.
 *
 * A tool that exits is stopped where it stands: its thread never goes on, as with a real exit.
 */
public class Tools {
    /** A tool that is not stopped in time goes on beside the next, so this is far more than any of them needs. */
    private static final long LIMIT_SECONDS = 300;

    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            List<String> args = new ArrayList<>();
            request.get("args").forEach(argument -> args.add(argument.asText()));
            ObjectNode answer = json.createObjectNode();
            run(request.get("class").asText(), args, request.path("input").asText(), answer);
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void run(String name, List<String> args, String input, ObjectNode answer) throws Exception {
        ByteArrayOutputStream stdout = new ByteArrayOutputStream();
        ByteArrayOutputStream stderr = new ByteArrayOutputStream();
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(stdout, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(stderr, true, StandardCharsets.UTF_8));
        CompletableFuture<Integer> code = new CompletableFuture<>();
        catchSystemExit(code);
        Exit.Procedure procedure = (status, message) -> {
            code.complete(status);
            while (true) LockSupport.park();
        };
        Exit.setExitProcedure(procedure);
        Exit.setHaltProcedure(procedure);
        List<Runnable> hooks = new ArrayList<>();
        Exit.setShutdownHookAdder((hook, action) -> hooks.add(action));
        Thread tool = new Thread(() -> {
            try {
                Class.forName(name).getMethod("main", String[].class)
                    .invoke(null, (Object) args.toArray(new String[0]));
                code.complete(0);
            } catch (Throwable thrown) {
                // As the JVM does with what leaves main.
                System.err.print("Exception in thread \"main\" ");
                (thrown.getCause() == null ? thrown : thrown.getCause()).printStackTrace();
                code.complete(1);
            }
        });
        tool.setDaemon(true);
        tool.start();
        try {
            answer.put("code", code.get(LIMIT_SECONDS, TimeUnit.SECONDS));
        } catch (TimeoutException late) {
            answer.put("code", -1);
        }
        for (Runnable hook : hooks) {
            Thread thread = new Thread(hook);
            thread.setDaemon(true);
            thread.start();
            thread.join(5000);
        }
        System.out.flush();
        System.err.flush();
        answer.put("stdout", stdout.toString(StandardCharsets.UTF_8));
        answer.put("stderr", stderr.toString(StandardCharsets.UTF_8));
    }

    /** For the tools that leave it to their argument parser to exit. Needs -Djava.security.manager=allow. */
    @SuppressWarnings("removal")
    private static void catchSystemExit(CompletableFuture<Integer> code) {
        Thread runner = Thread.currentThread();
        java.security.Policy.setPolicy(new java.security.Policy() {
            @Override
            public boolean implies(java.security.ProtectionDomain domain, java.security.Permission permission) {
                return true;
            }
        });
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkExit(int status) {
                if (Thread.currentThread() == runner) return;
                code.complete(status);
                while (true) LockSupport.park();
            }

            @Override
            public void checkPermission(java.security.Permission permission) {
            }
        });
    }
}
