package org.pytorch.serve.http;

import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import io.prometheus.client.Histogram;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.ConnectorType;

/**
 * Measures and authorizes every request of the inference port except /ping: records the time from the request's last
 * byte to its response, and answers 401 to a request without the required token, discarding its body as it arrives.
 *
 * <p>One instance per connection. The times of pipelined requests are too short.
 */
final class RequestGate extends ChannelDuplexHandler {

    /** Seconds, from a single prediction's milliseconds to default_response_timeout. */
    private static final Histogram SECONDS =
            Histogram.build("mnist_request_seconds", "From a request's last byte to its answer, by status code")
                    .labelNames("code")
                    .buckets(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
                    .register();

    /** Whether this connection came in through the inference port. */
    private boolean inference;

    /** Whether the current request is measured and authorized. */
    private boolean gated;

    private boolean rejected;

    /** When the current request's last byte arrived, by System.nanoTime(). */
    private long received;

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        SocketAddress inferenceAddress =
                ConfigManager.getInstance().getListener(ConnectorType.INFERENCE_CONNECTOR).getSocketAddress();
        SocketAddress localAddress = ctx.channel().localAddress();
        inference =
                localAddress instanceof InetSocketAddress
                        && inferenceAddress instanceof InetSocketAddress
                        && ((InetSocketAddress) localAddress).getPort()
                                == ((InetSocketAddress) inferenceAddress).getPort();
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
        if (message instanceof HttpRequest) {
            HttpRequest request = (HttpRequest) message;
            // Compare the raw path: the next handler rejects a path that does not decode.
            gated = inference && !request.uri().split("\\?", 2)[0].equals("/ping");
            received = System.nanoTime();
            rejected = gated && !Token.REQUIRED.matches(request.headers().get(HttpHeaderNames.AUTHORIZATION));
            if (rejected) {
                reject(ctx, request);
            }
        } else if (message instanceof LastHttpContent) {
            received = System.nanoTime();
        }
        if (rejected) {
            ReferenceCountUtil.release(message);
        } else {
            super.channelRead(ctx, message);
        }
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) throws Exception {
        if (gated && message instanceof HttpResponse) {
            HttpResponse response = (HttpResponse) message;
            if (response.status().codeClass() != HttpStatusClass.INFORMATIONAL) {
                gated = false;
                SECONDS.labels(String.valueOf(response.status().code())).observe((System.nanoTime() - received) / 1e9);
            }
        }
        super.write(ctx, message, promise);
    }

    private static void reject(ChannelHandlerContext ctx, HttpRequest request) {
        FullHttpResponse response =
                JsonErrorResponse.of(HttpResponseStatus.UNAUTHORIZED, "UnauthorizedError", Token.MISSING);
        response.headers().set(HttpHeaderNames.WWW_AUTHENTICATE, "Bearer");
        ChannelFuture written = ctx.channel().writeAndFlush(response);
        // A client that sent "Expect: 100-continue", as curl does before a large body, does not send the body now.
        if (!HttpUtil.isKeepAlive(request) || HttpUtil.is100ContinueExpected(request)) {
            written.addListener(ChannelFutureListener.CLOSE);
        }
    }
}
