package org.pytorch.serve.http;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.QueryStringDecoder;
import java.net.InetSocketAddress;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.pytorch.serve.archive.DownloadArchiveException;
import org.pytorch.serve.archive.model.ModelException;
import org.pytorch.serve.archive.workflow.WorkflowException;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.Connector;
import org.pytorch.serve.util.ConnectorType;
import org.pytorch.serve.util.NettyUtils;
import org.pytorch.serve.wlm.WorkerInitializationException;

/**
 * The addresses of the inference port and their methods. Some are answered here. The others go to a worker: predictions
 * as they come, and a GET with a header that says which of inference/protocols.py's resources it asks for.
 *
 * <p>TorchServe's own handlers have none of the GET addresses of KServe's protocols, refuse versions in those of V2,
 * and take any method for POST.
 */
public final class Router {

    /** The archive's name in common/constants.py. */
    public static final String MODEL = "mnist";

    /** Read by inference/protocols.py. */
    public static final String RESOURCE = "mnist-resource";

    public static final String READY = "ready";

    public static final String MODEL_METADATA = "model";

    public static final String SERVER_NAME = "mnist-lightning on TorchServe";

    public static final List<String> EXTENSIONS = List.of("binary_tensor_data");

    static final String LIVE_PATH = "/v2/health/live";

    static final String UNKNOWN = "nothing is at this address; GET / lists the addresses";

    private static final List<HttpMethod> READ = List.of(HttpMethod.GET, HttpMethod.HEAD);

    private static final List<HttpMethod> SEND = List.of(HttpMethod.POST, HttpMethod.PUT);

    private static final String HOW_TO_SEND =
            "send a picture or JSON to this address by POST, for example: curl --data-binary @picture.png URL;"
                    + " GET / lists the addresses";

    private static final String HOW_TO_READ = "this address answers GET and HEAD alone";

    /** Addresses of predictions and explanations, the kind of which begins as TorchServe's own address does. */
    private static final List<Pattern> PREDICTIONS =
            patterns(
                    "/(?<kind>predictions|explanations)/(?<model>[^/]+)(/(?<version>[^/]+))?",
                    "/v1/models/(?<model>[^/:]+)(?<version>):(?<kind>predict|explain)",
                    "/v2/models/(?<model>[^/:]+)(/versions/(?<version>[^/]+))?/(?<kind>infer|explain)");

    private static final Map<Pattern, String> RESOURCES = new LinkedHashMap<>();

    /** What is at each address, for people. */
    private static final Map<String, String> ADDRESSES = new LinkedHashMap<>();

    static {
        RESOURCES.put(Pattern.compile("/v2/health/ready(?<model>)(?<version>)"), READY);
        RESOURCES.put(Pattern.compile("/v1/models(?<model>)(?<version>)"), "models");
        RESOURCES.put(Pattern.compile("/v1/models/(?<model>[^/:]+)(?<version>)"), "model-ready");
        String model = "/v2/models/(?<model>[^/:]+)(/versions/(?<version>[^/]+))?";
        RESOURCES.put(Pattern.compile(model), MODEL_METADATA);
        RESOURCES.put(Pattern.compile(model + "/ready"), "model-ready");
        ADDRESSES.put("POST /predictions/mnist", "predictions, in the form of the request: a file, a form, JSON");
        ADDRESSES.put("POST /explanations/mnist", "the same, with explanations");
        ADDRESSES.put("POST /v1/models/mnist:predict", "KServe's V1 protocol; also :explain");
        ADDRESSES.put("GET /v1/models, /v1/models/mnist", "its list of models, and whether this one predicts");
        ADDRESSES.put("POST /v2/models/mnist/infer", "the Open Inference Protocol (V2); also /explain");
        ADDRESSES.put("GET /v2/models/mnist", "its tensors; also /versions/1.0, and /infer and /ready there");
        ADDRESSES.put("GET /v2/models/mnist/ready, /v2/health/ready", "whether the server predicts");
        ADDRESSES.put("GET /v2, /v2/health/live, /ping", "about the front end, also before a model is loaded");
    }

    private Router() {}

    /** Answers a request, or passes it on to the chain. */
    static void route(
            ChannelHandlerContext ctx,
            FullHttpRequest request,
            QueryStringDecoder decoder,
            HttpRequestHandlerChain chain)
            throws ModelException, DownloadArchiveException, WorkflowException, WorkerInitializationException {
        String path = withoutLastSlash(decoder.path());
        request.headers().remove(RESOURCE);
        JsonObject document = documentOf(path);
        if (document != null) {
            if (isAllowed(ctx, request, READ, HOW_TO_READ)) {
                NettyUtils.sendJsonResponse(ctx, document.toString());
            }
            return;
        }
        Matcher prediction = firstMatch(PREDICTIONS.stream(), path);
        if (prediction != null) {
            if (isAllowed(ctx, request, SEND, HOW_TO_SEND)) {
                String kind = prediction.group("kind").startsWith("expl") ? "explanations" : "predictions";
                chain.handleRequest(ctx, request, decoder, segments(kind, prediction));
            }
            return;
        }
        Matcher resource = firstMatch(RESOURCES.keySet().stream(), path);
        if (resource != null) {
            if (isAllowed(ctx, request, READ, HOW_TO_READ)) {
                request.headers().set(RESOURCE, RESOURCES.get(resource.pattern()));
                chain.handleRequest(ctx, request, decoder, segments("predictions", resource));
            }
            return;
        }
        if (path.equals("/docs") || path.equals("/metrics") || path.matches("/v[12](/.*)?")) {
            send(ctx, request, JsonErrorResponse.of(HttpResponseStatus.NOT_FOUND, "NotFoundError", elsewhere(path)));
            return;
        }
        chain.handleRequest(ctx, request, decoder, decoder.path().split("/"));
    }

    private static String withoutLastSlash(String path) {
        return path.length() > 1 && path.endsWith("/") ? path.substring(0, path.length() - 1) : path;
    }

    /** Where to find what people look for at an address that is not here. */
    private static String elsewhere(String path) {
        switch (path) {
            case "/docs":
                return "docs/api.md and config/openapi.yaml in the project document the API; GET / lists the addresses";
            case "/metrics":
                Connector metrics = ConfigManager.getInstance().getListener(ConnectorType.METRICS_CONNECTOR);
                int port = ((InetSocketAddress) metrics.getSocketAddress()).getPort();
                return String.format("metrics are on port %d, for clients on this machine", port);
            default:
                return UNKNOWN;
        }
    }

    /** What is answered without a worker; null at other addresses. */
    private static JsonObject documentOf(String path) {
        JsonObject document = new JsonObject();
        switch (path) {
            case "/":
                document.addProperty("name", SERVER_NAME);
                document.addProperty("status", "alive"); // which KServe's V1 clients expect here
                document.addProperty("description", "reads handwritten digits and numbers from pictures");
                document.addProperty("example", "curl --data-binary @picture.png URL/predictions/mnist");
                JsonObject addresses = new JsonObject();
                ADDRESSES.forEach(addresses::addProperty);
                document.add("addresses", addresses);
                document.addProperty("documentation", "docs/api.md and config/openapi.yaml in the project");
                return document;
            case "/v2":
                document.addProperty("name", SERVER_NAME);
                document.addProperty("version", version());
                JsonArray extensions = new JsonArray();
                EXTENSIONS.forEach(extensions::add);
                document.add("extensions", extensions);
                return document;
            case LIVE_PATH:
                document.addProperty("live", true);
                return document;
            default:
                return null;
        }
    }

    /** TorchServe's version. */
    public static String version() {
        return ConfigManager.getInstance().getVersion();
    }

    /** Whether the method is allowed; if not, answers which ones are. */
    private static boolean isAllowed(
            ChannelHandlerContext ctx, FullHttpRequest request, List<HttpMethod> allowed, String help) {
        if (allowed.contains(request.method())) {
            return true;
        }
        FullHttpResponse response =
                request.method().equals(HttpMethod.OPTIONS)
                        ? new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.NO_CONTENT)
                        : JsonErrorResponse.of(HttpResponseStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedError", help);
        response.headers().set(HttpHeaderNames.ALLOW, allowed.get(0) + ", " + allowed.get(1) + ", OPTIONS");
        send(ctx, request, response);
        return false;
    }

    private static void send(ChannelHandlerContext ctx, FullHttpRequest request, FullHttpResponse response) {
        NettyUtils.sendHttpResponse(ctx, response, HttpUtil.isKeepAlive(request));
    }

    /** The address as TorchServe's InferenceRequestHandler splits its own ones. */
    private static String[] segments(String kind, Matcher matched) {
        String model = matched.group("model").isEmpty() ? MODEL : matched.group("model");
        String version = matched.group("version");
        return version == null || version.isEmpty()
                ? new String[] {"", kind, model}
                : new String[] {"", kind, model, version};
    }

    private static Matcher firstMatch(Stream<Pattern> patterns, String path) {
        return patterns.map(pattern -> pattern.matcher(path)).filter(Matcher::matches).findFirst().orElse(null);
    }

    private static List<Pattern> patterns(String... expressions) {
        return Stream.of(expressions).map(Pattern::compile).collect(Collectors.toUnmodifiableList());
    }
}
