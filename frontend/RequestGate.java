package org.pytorch.serve.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOption;
import io.netty.channel.ChannelPromise;
import io.netty.channel.socket.DuplexChannel;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.AttributeKey;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.ScheduledFuture;
import io.prometheus.client.Histogram;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.ConnectorType;

/**
 * Decides which requests are served, before their bodies are read, and measures those of the inference port except for
 * its front end's health, from the request's last byte to its response. The body of a refused request is discarded as
 * it arrives. Errors get one form, whatever handler they come from.
 *
 * <p>One instance per connection. It passes on one request at a time, so that pipelined requests are answered in their
 * order. A request that does not arrive in time gets 408.
 */
final class RequestGate extends ChannelDuplexHandler {

    private static final long MAX_PAUSE = TimeUnit.SECONDS.toNanos(10);

    private static final long MAX_ARRIVAL = TimeUnit.SECONDS.toNanos(60);

    private static final long MAX_IDLE = TimeUnit.MINUTES.toNanos(10);

    private static final long CHECK_SECONDS = 1;

    private static final int MAX_LENGTH = ConfigManager.getInstance().getMaxRequestSize();

    private static final Pattern LOCAL_HOST = Pattern.compile("(localhost|127\\.0\\.0\\.1|\\[::1])(:\\d+)?");

    private static final String TOO_MANY_BYTES =
            "the server has no memory for another request of this size now; try again later";

    private static final String READ_ONLY = "this port is read-only, for clients on this machine";

    private static final String TOO_SLOW =
            "the request did not arrive in time: at most 10 s may pass between its parts, and 60 s in all";

    /** NettyUtils keeps the request that is being processed in it, until it is answered. */
    private static final AttributeKey<Object> SESSION = AttributeKey.valueOf("session");

    /** Seconds, from a single prediction's milliseconds to default_response_timeout. */
    private static final Histogram SECONDS =
            Histogram.build("mnist_request_seconds", "From a request's last byte to its answer, by status code")
                    .labelNames("code")
                    .buckets(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
                    .register();

    /** The messages of requests that arrived before the current one was answered. */
    private final Queue<Object> pipelined = new ArrayDeque<>();

    private ConnectorType connector;

    private ScheduledFuture<?> check;

    /** Whether the current request's body is still arriving. */
    private boolean receiving;

    /** Whether the current request is not answered yet. */
    private boolean unanswered;

    /** Whether the rest of the current request is discarded. */
    private boolean refused;

    /** Whether the connection stays open after the current request's answer. */
    private boolean keepAlive = true;

    /** Whether the last answer is written; whatever arrives is discarded. */
    private boolean closing;

    /** Whether the current request's time is measured. */
    private boolean measured;

    /** Whether the current request's address is one of the Open Inference Protocol, whose errors have another form. */
    private boolean openInference;

    /** The origin whose pages may read the current request's answer; null if there is none. */
    private String origin;

    /** Whether the messages in `pipelined` are being processed. */
    private boolean replaying;

    /** Bytes of the current request's body: those that arrived, and those for which memory is reserved. */
    private long arrived;

    private long held;

    /** By System.nanoTime(): when the current request's first and last byte arrived, and this connection's last one. */
    private long started;

    private long received;

    private long lastRead = System.nanoTime();

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        // TorchServe sets it to 0, which resets each connection that the server closes.
        ctx.channel().config().setOption(ChannelOption.SO_LINGER, -1);
        connector = connectorOf(ctx.channel().localAddress());
        check =
                ctx.executor()
                        .scheduleAtFixedRate(
                                () -> closeIfStalled(ctx), CHECK_SECONDS, CHECK_SECONDS, TimeUnit.SECONDS);
    }

    /** Notes that bytes arrived, even if they are not a whole message yet. */
    void bytesArrived() {
        lastRead = System.nanoTime();
        if (started == 0) {
            started = lastRead;
        }
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
        if (closing) {
            ReferenceCountUtil.release(message);
        } else if (!pipelined.isEmpty() || (message instanceof HttpRequest && unanswered)) {
            pipelined.add(message);
            ctx.channel().config().setAutoRead(false);
        } else {
            process(ctx, message);
        }
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) throws Exception {
        boolean answer =
                message instanceof HttpResponse
                        && ((HttpResponse) message).status().codeClass() != HttpStatusClass.INFORMATIONAL;
        if (answer && unanswered) {
            if (measured) {
                String code = String.valueOf(((HttpResponse) message).status().code());
                SECONDS.labels(code).observe((System.nanoTime() - received) / 1e9);
            }
            end();
        }
        if (message instanceof FullHttpResponse) {
            message = JsonErrorResponse.unified((FullHttpResponse) message, openInference);
        }
        if (answer) {
            CrossOrigin.mark(((HttpResponse) message).headers(), origin);
        }
        if (answer && !keepAlive) { // TorchServe ignores it in most cases
            ((HttpResponse) message).headers().set(HttpHeaderNames.CONNECTION, HttpHeaderValues.CLOSE);
            promise = promise.unvoid();
            closeAfter(promise);
        }
        super.write(ctx, message, promise);
        if (answer) {
            processNext(ctx);
        }
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) throws Exception {
        check.cancel(false);
        pipelined.forEach(ReferenceCountUtil::release);
        pipelined.clear();
        if (unanswered) {
            endWhenProcessed(ctx);
        }
        super.channelInactive(ctx);
    }

    private void process(ChannelHandlerContext ctx, Object message) throws Exception {
        if (message instanceof HttpRequest) {
            begin(ctx, (HttpRequest) message);
        }
        if (message instanceof HttpContent) {
            arrived += ((HttpContent) message).content().readableBytes();
            FullHttpResponse refusal = unanswered && !refused ? refusalOf((HttpContent) message) : null;
            if (refusal != null) {
                closeAfter(answer(ctx, refusal));
            }
        }
        boolean discarded = refused;
        if (message instanceof LastHttpContent) {
            received = System.nanoTime();
            receiving = false;
        }
        if (discarded) {
            ReferenceCountUtil.release(message);
            processNext(ctx);
        } else {
            super.channelRead(ctx, message);
        }
    }

    private void begin(ChannelHandlerContext ctx, HttpRequest request) {
        // Compare the raw path: the next handler rejects a path that does not decode.
        String path = request.uri().split("\\?", 2)[0];
        boolean inference = connector == ConnectorType.INFERENCE_CONNECTOR;
        measured = inference && !path.equals("/ping") && !path.equals(Router.LIVE_PATH);
        openInference = inference && (path.equals("/v2") || path.startsWith("/v2/"));
        origin = inference ? CrossOrigin.allowedOriginOf(request) : null;
        received = System.nanoTime();
        receiving = true;
        unanswered = true;
        refused = false;
        keepAlive = HttpUtil.isKeepAlive(request);
        arrived = 0;
        InFlight.begin();
        FullHttpResponse refusal = refusalOf(request);
        if (refusal != null) {
            ChannelFuture written = answer(ctx, refusal);
            // A client that sent "Expect: 100-continue", as curl does before a large body, does not send the body now:
            // what follows could be the body or the next request.
            if (request.headers().contains(HttpHeaderNames.EXPECT)
                    || refusal.status().equals(HttpResponseStatus.BAD_REQUEST)) {
                closeAfter(written);
            }
        }
    }

    /** Answers the current request in place of the next handlers, which do not get the rest of it. */
    private ChannelFuture answer(ChannelHandlerContext ctx, FullHttpResponse response) {
        refused = true;
        return ctx.channel().writeAndFlush(response);
    }

    /**
     * Ends the answers, and closes the connection a second later. If it were closed while bytes of the request are
     * unread, the system would reset it, and the client could lose the answer.
     */
    private void closeAfter(ChannelFuture lastAnswer) {
        Channel channel = lastAnswer.channel();
        closing = true;
        lastAnswer.addListener(
                written -> {
                    if (channel instanceof DuplexChannel) {
                        ((DuplexChannel) channel).shutdownOutput();
                    }
                    channel.eventLoop().schedule(() -> channel.close(), 1, TimeUnit.SECONDS);
                });
    }

    private void processNext(ChannelHandlerContext ctx) throws Exception {
        if (unanswered || receiving) {
            return;
        }
        started = 0;
        if (pipelined.isEmpty() || replaying) {
            return;
        }
        replaying = true;
        try {
            while (!pipelined.isEmpty() && !(unanswered && pipelined.peek() instanceof HttpRequest)) {
                process(ctx, pipelined.poll());
            }
        } finally {
            replaying = false;
        }
        if (pipelined.isEmpty()) {
            ctx.channel().config().setAutoRead(true);
        }
    }

    /** Reserves memory for a body of at least `length` bytes; false if there is none. Larger bodies get 413 later. */
    private boolean reserve(long length) {
        if (length <= held || length > MAX_LENGTH) {
            return true;
        }
        if (!InFlight.reserve(length - held, length)) {
            return false;
        }
        held = length;
        return true;
    }

    private void end() {
        unanswered = false;
        InFlight.end(held);
        held = 0;
    }

    /** Ends a request whose client has disconnected; if the whole request was passed on, when it is processed. */
    private void endWhenProcessed(ChannelHandlerContext ctx) {
        if (receiving || ctx.channel().attr(SESSION).get() == null) {
            end();
        } else {
            ctx.executor().schedule(() -> endWhenProcessed(ctx), 100, TimeUnit.MILLISECONDS);
        }
    }

    private void closeIfStalled(ChannelHandlerContext ctx) {
        long now = System.nanoTime();
        if (started == 0) {
            if (now - lastRead > MAX_IDLE) {
                ctx.close();
            }
        } else if ((receiving || !unanswered) && (now - lastRead > MAX_PAUSE || now - started > MAX_ARRIVAL)) {
            if (receiving && !unanswered) {
                ctx.close();
            } else {
                HttpResponseStatus status = HttpResponseStatus.REQUEST_TIMEOUT;
                closeAfter(answer(ctx, JsonErrorResponse.of(status, "TooSlowClientError", TOO_SLOW)));
            }
        }
    }

    /** The answer to a request that is not served; null if it is. */
    private FullHttpResponse refusalOf(HttpRequest request) {
        if (!request.decoderResult().isSuccess()) {
            return JsonErrorResponse.badHttp("the request is not valid HTTP");
        }
        String ambiguity = StrictHttpCodec.ambiguity(request.protocolVersion(), request.headers());
        if (ambiguity != null) {
            return JsonErrorResponse.badHttp(ambiguity);
        }
        if (!request.uri().startsWith("/")) { // TorchServe's handlers would fail
            return JsonErrorResponse.badHttp("the request's target must be a path, such as /predictions/mnist");
        }
        String expected = request.headers().get(HttpHeaderNames.EXPECT);
        if (expected != null && !expected.equalsIgnoreCase(HttpHeaderValues.CONTINUE.toString())) {
            return JsonErrorResponse.of(
                    HttpResponseStatus.EXPECTATION_FAILED,
                    "BadHttpError",
                    "the header Expect must be '100-continue'");
        }
        if (expected != null && HttpUtil.getContentLength(request, 0L) > MAX_LENGTH) {
            return JsonErrorResponse.tooLarge(MAX_LENGTH);
        }
        if (InFlight.isStopping()) {
            return JsonErrorResponse.of(
                    HttpResponseStatus.SERVICE_UNAVAILABLE, "StoppingError", InFlight.STOPPING);
        }
        if (connector == ConnectorType.MANAGEMENT_CONNECTOR
                && !(request.method().equals(HttpMethod.GET) && isLocal(request))) {
            return JsonErrorResponse.of(HttpResponseStatus.FORBIDDEN, "ReadOnlyError", READ_ONLY);
        }
        if (origin != null && CrossOrigin.isPreflight(request)) {
            return CrossOrigin.preflight();
        }
        if (measured && !Token.REQUIRED.matches(request.headers().get(HttpHeaderNames.AUTHORIZATION))) {
            FullHttpResponse response =
                    JsonErrorResponse.of(HttpResponseStatus.UNAUTHORIZED, "UnauthorizedError", Token.MISSING);
            response.headers().set(HttpHeaderNames.WWW_AUTHENTICATE, "Bearer");
            return response;
        }
        return reserve(HttpUtil.getContentLength(request, 0L)) ? null : JsonErrorResponse.busy(TOO_MANY_BYTES);
    }

    /** The answer to a request whose body's next part, counted in `arrived`, is not accepted; null if it is. */
    private FullHttpResponse refusalOf(HttpContent part) {
        if (!part.decoderResult().isSuccess()) {
            return JsonErrorResponse.badHttp("the request's body is not in valid chunks");
        }
        return reserve(arrived) ? null : JsonErrorResponse.busy(TOO_MANY_BYTES);
    }

    /** Whether the header Host is a name of this machine, which no other site can have. */
    private static boolean isLocal(HttpRequest request) {
        return LOCAL_HOST.matcher(request.headers().get(HttpHeaderNames.HOST, "")).matches();
    }

    /** The connector of a channel with this local address; null if it is none of TorchServe's. */
    static ConnectorType connectorOf(SocketAddress local) {
        for (ConnectorType type : ConnectorType.values()) {
            SocketAddress address = ConfigManager.getInstance().getListener(type).getSocketAddress();
            if (local instanceof InetSocketAddress
                    && address instanceof InetSocketAddress
                    && ((InetSocketAddress) local).getPort() == ((InetSocketAddress) address).getPort()) {
                return type;
            }
        }
        return null;
    }
}
