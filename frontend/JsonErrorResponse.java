package org.pytorch.serve.http;

import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.util.CharsetUtil;

/** An error response of the front end, in the same JSON form as the handler's. TorchServe has its own ErrorResponse. */
final class JsonErrorResponse {

    private JsonErrorResponse() {}

    /** 503: the client may try again after a second. */
    static FullHttpResponse busy(String message) {
        FullHttpResponse response = of(HttpResponseStatus.SERVICE_UNAVAILABLE, "BusyError", message);
        response.headers().set(HttpHeaderNames.RETRY_AFTER, 1);
        return response;
    }

    /** 400: the request is not HTTP as it must be. */
    static FullHttpResponse badHttp(String message) {
        return of(HttpResponseStatus.BAD_REQUEST, "BadHttpError", message);
    }

    /** 413. */
    static FullHttpResponse tooLarge(int maxLength) {
        return of(
                HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE,
                "TooManyBytesError",
                String.format("the request is too large; at most %,d bytes are accepted", maxLength));
    }

    /** Neither the type nor the message may contain characters that JSON escapes. */
    static FullHttpResponse of(HttpResponseStatus status, String type, String message) {
        String text =
                String.format(
                        "{\"code\": %d, \"type\": \"%s\", \"message\": \"%s\"}%n", status.code(), type, message);
        FullHttpResponse response =
                new DefaultFullHttpResponse(
                        HttpVersion.HTTP_1_1, status, Unpooled.copiedBuffer(text, CharsetUtil.UTF_8));
        response.headers()
                .set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_JSON)
                .set(HttpHeaderNames.CONTENT_LENGTH, response.content().readableBytes());
        return response;
    }
}
