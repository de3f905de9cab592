import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Java 17 or newer, without libraries: java Predict.java http://127.0.0.1:8080 picture.png
 *
 * <p>MNIST_TOKEN is the token, if the server requires one. The answer is JSON, for the parser that you use.
 */
public class Predict {

    // HTTP/1.1, so that the client does not ask for an upgrade to HTTP/2 first.
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();

    /** The server's answer to a picture file; throws IOException with the server's error, or without an answer. */
    static String ask(String url, Path picture, String token) throws IOException, InterruptedException {
        var request =
                HttpRequest.newBuilder(URI.create(url + "/predictions/mnist"))
                        .header("Content-Type", "application/octet-stream")
                        .timeout(Duration.ofSeconds(30))
                        .POST(HttpRequest.BodyPublishers.ofFile(picture));
        if (token != null) {
            request.header("Authorization", "Bearer " + token);
        }
        var response = CLIENT.send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IOException(response.body());
        }
        return response.body();
    }

    public static void main(String[] arguments) throws InterruptedException {
        try {
            System.out.println(ask(arguments[0], Path.of(arguments[1]), System.getenv("MNIST_TOKEN")));
        } catch (IOException error) {
            System.err.println("error: " + (error.getMessage() == null ? error : error.getMessage()));
            System.exit(1);
        }
    }
}
