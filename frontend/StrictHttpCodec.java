package org.pytorch.serve.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.CombinedChannelDuplexHandler;
import io.netty.handler.codec.DecoderResult;
import io.netty.handler.codec.http.DefaultHttpContent;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpRequestDecoder;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseEncoder;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Netty's HttpServerCodec, but it refuses requests whose length a proxy in front could understand otherwise, so that it
 * takes a part of a body for the next request (request smuggling). Netty 4.1.53 accepts a chunked body with a
 * Content-Length, control characters in the names of headers (CVE-2021-43797), and chunks with signs, spaces and other
 * bytes around their size, without their line ends, or longer than their size (CVE-2025-58056).
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

        /** The chunked body that is being decoded, instead of by Netty; null outside of one. */
        private ChunkedBody body;

        @Override
        protected void decode(ChannelHandlerContext ctx, ByteBuf buffer, List<Object> out) throws Exception {
            if (body != null) {
                decodeBody(buffer, out);
                return;
            }
            int before = out.size();
            super.decode(ctx, buffer, out);
            for (Object message : out.subList(before, out.size())) {
                if (message instanceof HttpRequest) {
                    HttpRequest request = (HttpRequest) message;
                    methods.add(request.method());
                    if (request.decoderResult().isSuccess() && HttpUtil.isTransferEncodingChunked(request)) {
                        body = new ChunkedBody();
                    }
                }
            }
        }

        private void decodeBody(ByteBuf buffer, List<Object> out) {
            HttpContent part = body.next(buffer);
            if (part != null) {
                out.add(part);
            }
            if (part instanceof LastHttpContent && part.decoderResult().isSuccess()) {
                body = null;
                reset();
            }
        }

        @Override
        protected void handleTransferEncodingChunkedWithContentLength(HttpMessage message) {
            throw new IllegalArgumentException("a chunked body with a Content-Length");
        }
    }

    /** A chunked body: RFC 9112, section 7.1. Extensions and trailers are ignored. */
    private static final class ChunkedBody {

        private enum State {
            SIZE,
            DATA,
            END_OF_DATA,
            TRAILER,
            INVALID
        }

        private static final Pattern SIZE_LINE = Pattern.compile("([0-9a-fA-F]{1,7})(;[\\t\\x20-\\x7e]*)?");

        private static final int MAX_LINE = 1024;

        private static final int MAX_TRAILERS = 8192;

        private State state = State.SIZE;

        /** Bytes of the chunk that are still to come. */
        private int remaining;

        private int trailers;

        /** The next part of the body, the last of which is a LastHttpContent; null if more bytes are needed. */
        HttpContent next(ByteBuf buffer) {
            if (state == State.INVALID) {
                buffer.skipBytes(buffer.readableBytes());
                return null;
            }
            if (state == State.DATA) {
                ByteBuf data = buffer.readRetainedSlice(Math.min(remaining, buffer.readableBytes()));
                remaining -= data.readableBytes();
                state = remaining == 0 ? State.END_OF_DATA : State.DATA;
                return new DefaultHttpContent(data);
            }
            int length = buffer.bytesBefore((byte) '\n');
            if (length < 0) {
                return buffer.readableBytes() > MAX_LINE ? invalid(buffer) : null;
            }
            String line = buffer.readCharSequence(length, StandardCharsets.ISO_8859_1).toString();
            buffer.skipBytes(1);
            boolean ended = line.endsWith("\r") && length <= MAX_LINE;
            return ended ? parse(line.substring(0, length - 1), buffer) : invalid(buffer);
        }

        private HttpContent parse(String line, ByteBuf buffer) {
            switch (state) {
                case SIZE:
                    Matcher size = SIZE_LINE.matcher(line);
                    if (!size.matches()) {
                        return invalid(buffer);
                    }
                    remaining = Integer.parseInt(size.group(1), 16);
                    state = remaining == 0 ? State.TRAILER : State.DATA;
                    return null;
                case END_OF_DATA:
                    state = State.SIZE;
                    return line.isEmpty() ? null : invalid(buffer);
                default:
                    trailers += line.length();
                    if (trailers > MAX_TRAILERS) {
                        return invalid(buffer);
                    }
                    return line.isEmpty() ? LastHttpContent.EMPTY_LAST_CONTENT : null;
            }
        }

        private HttpContent invalid(ByteBuf buffer) {
            state = State.INVALID;
            buffer.skipBytes(buffer.readableBytes());
            LastHttpContent last = new DefaultLastHttpContent();
            last.setDecoderResult(DecoderResult.failure(new IllegalArgumentException("a chunk is not valid")));
            return last;
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
