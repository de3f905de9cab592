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
 * What every request of the inference port but /ping passes first: its time is taken, from its last byte to its answer,
 * and without the token, where one is asked for, it gets a 401 and its body is thrown away as it comes.
 *
 * <p>One for each connection. Of requests that a client sends without waiting for the answer to the last, the times are
 * too short.
 */
final class Entrance extends ChannelDuplexHandler {

    /** From a lone prediction's milliseconds to default_response_timeout. */
    private static final Histogram SECONDS =
            Histogram.build("mnist_request_seconds", "From a request's last byte to its answer, by status code")
                    .labelNames("code")
                    .buckets(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
                    .register();

    /** Whether this connection came in by the inference port. */
    private boolean inference;

    private boolean counted;

    private boolean refused;

    private long started;

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        SocketAddress asked = ConfigManager.getInstance().getListener(ConnectorType.INFERENCE_CONNECTOR).getSocketAddress();
        SocketAddress here = ctx.channel().localAddress();
        inference =
                here instanceof InetSocketAddress
                        && asked instanceof InetSocketAddress
                        && ((InetSocketAddress) here).getPort() == ((InetSocketAddress) asked).getPort();
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
        if (message instanceof HttpRequest) {
            HttpRequest request = (HttpRequest) message;
            // As it is written: what does not decode is the next handler's to refuse.
            counted = inference && !request.uri().split("\\?", 2)[0].equals("/ping");
            started = System.nanoTime();
            refused = counted && !Token.ASKED_FOR.isIn(request.headers().get(HttpHeaderNames.AUTHORIZATION));
            if (refused) {
                refuse(ctx, request);
            }
        } else if (message instanceof LastHttpContent) {
            started = System.nanoTime();
        }
        if (refused) {
            ReferenceCountUtil.release(message);
        } else {
            super.channelRead(ctx, message);
        }
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) throws Exception {
        if (counted && message instanceof HttpResponse) {
            HttpResponse response = (HttpResponse) message;
            if (response.status().codeClass() != HttpStatusClass.INFORMATIONAL) {
                counted = false;
                SECONDS.labels(String.valueOf(response.status().code())).observe((System.nanoTime() - started) / 1e9);
            }
        }
        super.write(ctx, message, promise);
    }

    private static void refuse(ChannelHandlerContext ctx, HttpRequest request) {
        FullHttpResponse response =
                Refusal.of(HttpResponseStatus.UNAUTHORIZED, "UnauthorizedError", Token.MISSING);
        response.headers().set(HttpHeaderNames.WWW_AUTHENTICATE, "Bearer");
        ChannelFuture written = ctx.channel().writeAndFlush(response);
        // A client that asked first, as curl does before a large body, does not send that body any more.
        if (!HttpUtil.isKeepAlive(request) || HttpUtil.is100ContinueExpected(request)) {
            written.addListener(ChannelFutureListener.CLOSE);
        }
    }
}
