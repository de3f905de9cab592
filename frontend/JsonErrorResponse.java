package org.pytorch.serve.http;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.util.CharsetUtil;

/**
 * Error responses, all in one JSON form: the handler's, with `code`, `type` and `message`; or that of the Open
 * Inference Protocol, with `error`, at its addresses. TorchServe has its own ErrorResponse.
 */
final class JsonErrorResponse {

    private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();

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

    static FullHttpResponse of(HttpResponseStatus status, String type, String message) {
        JsonObject error = new JsonObject();
        error.addProperty("code", status.code());
        error.addProperty("type", type);
        error.addProperty("message", message);
        return withContent(new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, status), error);
    }

    /**
     * An error response of any handler, its own headers kept, in the form of the address. TorchServe names its types
     * after exceptions. Other responses are not changed.
     */
    static FullHttpResponse unified(FullHttpResponse response, boolean openInference) {
        if (response.status().code() < 400) {
            return response;
        }
        JsonObject found = parse(response.content().toString(CharsetUtil.UTF_8));
        String type = text(found, "type", "Error").replaceFirst("Exception$", "Error");
        String message = text(found, "message", response.status().reasonPhrase());
        JsonObject error = new JsonObject();
        if (openInference) {
            error.addProperty("error", type + ": " + message);
        } else {
            error.addProperty("code", response.status().code());
            error.addProperty("type", type);
            error.addProperty("message", message);
        }
        return withContent(response, error);
    }

    /** The response with another content; releases the former. */
    private static FullHttpResponse withContent(FullHttpResponse response, JsonObject error) {
        String text = GSON.toJson(error) + "\n";
        FullHttpResponse changed = response.replace(Unpooled.copiedBuffer(text, CharsetUtil.UTF_8));
        changed.headers()
                .set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_JSON)
                .set(HttpHeaderNames.CONTENT_LENGTH, changed.content().readableBytes());
        response.release();
        return changed;
    }

    /** An object; without members if the text is no JSON object. */
    private static JsonObject parse(String text) {
        try {
            JsonElement parsed = GSON.fromJson(text, JsonElement.class);
            return parsed != null && parsed.isJsonObject() ? parsed.getAsJsonObject() : new JsonObject();
        } catch (JsonParseException e) {
            return new JsonObject();
        }
    }

    private static String text(JsonObject object, String name, String otherwise) {
        JsonElement value = object.get(name);
        return value != null && value.isJsonPrimitive() ? value.getAsString() : otherwise;
    }
}
