package org.pytorch.serve.http;

import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpStatusClass;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.handler.codec.http.QueryStringDecoder;
import io.prometheus.client.Histogram;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.ConnectorType;

/**
 * What every request of the inference port but /ping passes first: its time is taken, from its last byte to its answer.
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
            counted = inference && !new QueryStringDecoder(((HttpRequest) message).uri()).path().equals("/ping");
            started = System.nanoTime();
        } else if (message instanceof LastHttpContent) {
            started = System.nanoTime();
        }
        super.channelRead(ctx, message);
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
}
