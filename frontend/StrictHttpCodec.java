package org.pytorch.serve.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.CombinedChannelDuplexHandler;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpRequestDecoder;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseEncoder;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.HttpVersion;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.regex.Pattern;

/**
 * Netty's HttpServerCodec, but it refuses requests whose length a proxy in front could understand otherwise, so that it
 * takes a part of a body for the next request (request smuggling). Netty 4.1.53 accepts a chunked body with a
 * Content-Length, and control characters in the names of headers (CVE-2021-43797).
 */
final class StrictHttpCodec extends CombinedChannelDuplexHandler<HttpRequestDecoder, HttpResponseEncoder> {

    private static final Pattern LENGTH = Pattern.compile("[0-9]{1,18}");

    /** The methods of the requests that are not answered yet: an answer to HEAD has no body. */
    private final Queue<HttpMethod> methods = new ArrayDeque<>();

    StrictHttpCodec() {
        init(new Decoder(), new Encoder());
    }

    /** Why a request's headers are ambiguous; null if they are not. */
    static String ambiguity(HttpVersion version, HttpHeaders headers) {
        for (Map.Entry<String, String> header : headers) {
            String name = header.getKey();
            for (int at = 0; at < name.length(); at++) {
                if (!isTokenCharacter(name.charAt(at))) {
                    return "a header's name has a character that is not allowed";
                }
            }
        }
        List<String> lengths = headers.getAll(HttpHeaderNames.CONTENT_LENGTH);
        if (lengths.size() > 1 || (lengths.size() == 1 && !LENGTH.matcher(lengths.get(0)).matches())) {
            return "the header Content-Length must be one number";
        }
        List<String> encodings = headers.getAll(HttpHeaderNames.TRANSFER_ENCODING);
        if (!encodings.isEmpty()
                && (encodings.size() > 1
                        || !encodings.get(0).equalsIgnoreCase("chunked")
                        || !version.equals(HttpVersion.HTTP_1_1))) {
            return "the header Transfer-Encoding must be 'chunked', in HTTP/1.1";
        }
        return null;
    }

    /** RFC 9110, section 5.6.2. */
    private static boolean isTokenCharacter(char c) {
        return (c >= 'a' && c <= 'z')
                || (c >= 'A' && c <= 'Z')
                || (c >= '0' && c <= '9')
                || "!#$%&'*+-.^_`|~".indexOf(c) >= 0;
    }

    private final class Decoder extends HttpRequestDecoder {

        @Override
        protected void decode(ChannelHandlerContext ctx, ByteBuf buffer, List<Object> out) throws Exception {
            int before = out.size();
            super.decode(ctx, buffer, out);
            for (Object message : out.subList(before, out.size())) {
                if (message instanceof HttpRequest) {
                    methods.add(((HttpRequest) message).method());
                }
            }
        }

        @Override
        protected void handleTransferEncodingChunkedWithContentLength(HttpMessage message) {
            throw new IllegalArgumentException("a chunked body with a Content-Length");
        }
    }

    private final class Encoder extends HttpResponseEncoder {

        private HttpMethod method;

        @Override
        protected boolean isContentAlwaysEmpty(HttpResponse response) {
            if (response.status().codeClass() != HttpStatusClass.INFORMATIONAL) {
                method = methods.poll();
            }
            return HttpMethod.HEAD.equals(method) || super.isContentAlwaysEmpty(response);
        }
    }
}
