package org.pytorch.serve.http;

import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import java.util.Set;

/**
 * Which sites' pages may read answers (CORS); none by default. TorchServe's own setting, cors_allowed_origin, takes one
 * origin, does not answer preflights, and leaves out the responses of the RequestGate.
 */
final class CrossOrigin {

    /** The origins that the system property names; serving/torchserve.py checks and sets it. */
    private static final Set<String> ALLOWED = Set.of(System.getProperty("mnist.origins", "").split(","));

    private static final boolean ENABLED = !ALLOWED.contains("");

    private static final String METHODS = "GET, POST, PUT";

    /** The wildcard does not stand for Authorization. */
    private static final String HEADERS = "*, Authorization";

    private static final int MAX_AGE_SECONDS = 600;

    private CrossOrigin() {}

    /** The request's origin, if its pages may read answers; null otherwise. */
    static String allowedOriginOf(HttpRequest request) {
        String origin = request.headers().get(HttpHeaderNames.ORIGIN, "");
        return ENABLED && ALLOWED.contains(origin) ? origin : null;
    }

    /** Whether a browser asks what it may send, without a token. */
    static boolean isPreflight(HttpRequest request) {
        return request.method().equals(HttpMethod.OPTIONS)
                && request.headers().contains(HttpHeaderNames.ACCESS_CONTROL_REQUEST_METHOD);
    }

    /** The answer to a preflight from an allowed origin. */
    static FullHttpResponse preflight() {
        FullHttpResponse response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.NO_CONTENT);
        response.headers()
                .set(HttpHeaderNames.ACCESS_CONTROL_ALLOW_METHODS, METHODS)
                .set(HttpHeaderNames.ACCESS_CONTROL_ALLOW_HEADERS, HEADERS)
                .set(HttpHeaderNames.ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
        return response;
    }

    /** Marks a response as readable by pages of the origin; of none if it is null. */
    static void mark(HttpHeaders headers, String origin) {
        if (ENABLED) {
            headers.add(HttpHeaderNames.VARY, HttpHeaderNames.ORIGIN);
        }
        if (origin != null) {
            headers.set(HttpHeaderNames.ACCESS_CONTROL_ALLOW_ORIGIN, origin)
                    .set(HttpHeaderNames.ACCESS_CONTROL_EXPOSE_HEADERS, "*");
        }
    }
}
