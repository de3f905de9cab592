package org.pytorch.serve.http;

import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.handler.codec.http.FullHttpMessage;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.QueryStringDecoder;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.pytorch.serve.archive.DownloadArchiveException;
import org.pytorch.serve.archive.model.ModelException;
import org.pytorch.serve.archive.model.ModelNotFoundException;
import org.pytorch.serve.archive.model.ModelVersionNotFoundException;
import org.pytorch.serve.archive.workflow.WorkflowNotFoundException;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.ConnectorType;
import org.pytorch.serve.util.NettyUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Replaces TorchServe 0.12.0's class of the same name, by its place on the class path. The differences:
 *
 * <ul>
 *   <li>Forms reach the handler unchanged. TorchServe parses them by Netty 4.1.53, whose time grows with the square of
 *       the spaces in a field's name, which does not bound their number (CVE-2024-29025), and which answers 500 to some
 *       malformed ones. A form-encoded body, curl's default content type, is damaged by it.
 *   <li>A body above max_request_size gets 413 with a JSON body instead of an empty one.
 *   <li>A full queue gets 503 with an error that names the queue instead of a lack of workers.
 *   <li>Each request passes the RequestGate first, and those of the inference port the Router.
 * </ul>
 *
 * <p>`make frontend` compiles this folder into frontend.jar.
 */
public class HttpRequestHandler extends SimpleChannelInboundHandler<FullHttpRequest> {

    private static final Logger logger = LoggerFactory.getLogger(HttpRequestHandler.class);

    /** Read by inference/protocols.py. */
    private static final String FORM_TYPE = "mnist-form-type";

    private static final List<String> FORMS = List.of("multipart/", "application/x-www-form-urlencoded");

    private static final String BUSY =
            "the server is busy: its queue is full, or no worker is running; try again later";

    /** The first matching class decides: subclasses come before their base classes. */
    private static final Map<Class<? extends Throwable>, HttpResponseStatus> STATUS = new LinkedHashMap<>();

    static {
        STATUS.put(ModelNotFoundException.class, HttpResponseStatus.NOT_FOUND);
        STATUS.put(ModelVersionNotFoundException.class, HttpResponseStatus.NOT_FOUND);
        STATUS.put(WorkflowNotFoundException.class, HttpResponseStatus.NOT_FOUND);
        STATUS.put(BadRequestException.class, HttpResponseStatus.BAD_REQUEST);
        STATUS.put(ModelException.class, HttpResponseStatus.BAD_REQUEST);
        STATUS.put(DownloadArchiveException.class, HttpResponseStatus.BAD_REQUEST);
        STATUS.put(ConflictStatusException.class, HttpResponseStatus.CONFLICT);
        STATUS.put(RequestTimeoutException.class, HttpResponseStatus.REQUEST_TIMEOUT);
        STATUS.put(MethodNotAllowedException.class, HttpResponseStatus.METHOD_NOT_ALLOWED);
        STATUS.put(OutOfMemoryError.class, HttpResponseStatus.INSUFFICIENT_STORAGE);
        STATUS.put(IllegalArgumentException.class, HttpResponseStatus.FORBIDDEN);
    }

    private HttpRequestHandlerChain handlerChain;

    private boolean isInference;

    public HttpRequestHandler() {}

    public HttpRequestHandler(HttpRequestHandlerChain chain) {
        handlerChain = chain;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        Aggregator aggregator = new Aggregator(ConfigManager.getInstance().getMaxRequestSize());
        ctx.pipeline().replace(HttpObjectAggregator.class, "aggregator", aggregator);
        RequestGate gate = new RequestGate();
        ctx.pipeline().addBefore("aggregator", "gate", gate);
        ctx.pipeline().replace(HttpServerCodec.class, "codec", new StrictHttpCodec());
        ctx.pipeline().addBefore("codec", "arrivals", new Arrivals(gate));
        isInference = RequestGate.connectorOf(ctx.channel().localAddress()) == ConnectorType.INFERENCE_CONNECTOR;
    }

    @Override
    protected void channelRead0(ChannelHandlerContext ctx, FullHttpRequest req) {
        try {
            NettyUtils.requestReceived(ctx.channel(), req);
            if (!req.decoderResult().isSuccess()) {
                throw new BadRequestException("Invalid HTTP message.");
            }
            keepForm(req.headers());
            QueryStringDecoder decoder = new QueryStringDecoder(req.uri());
            if (isInference) {
                Router.route(ctx, req, decoder, handlerChain);
            } else {
                handlerChain.handleRequest(ctx, req, decoder, decoder.path().split("/"));
            }
        } catch (Throwable t) {
            if (t instanceof ServiceUnavailableException) {
                NettyUtils.sendHttpResponse(ctx, JsonErrorResponse.busy(BUSY), HttpUtil.isKeepAlive(req));
                return;
            }
            if (t instanceof ResourceNotFoundException) {
                FullHttpResponse unknown =
                        JsonErrorResponse.of(HttpResponseStatus.NOT_FOUND, "NotFoundError", Router.UNKNOWN);
                NettyUtils.sendHttpResponse(ctx, unknown, HttpUtil.isKeepAlive(req));
                return;
            }
            HttpResponseStatus status = statusOf(t);
            if (status.code() == HttpResponseStatus.INTERNAL_SERVER_ERROR.code()) {
                logger.error("a request failed: {}", t.toString());
            }
            NettyUtils.sendError(ctx, status, t);
        }
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
        // A client that disconnects is not an error of this server.
        if (!(cause instanceof IOException)) {
            logger.error("a connection failed: {}", cause.toString());
        }
        if (cause instanceof OutOfMemoryError) {
            NettyUtils.sendError(ctx, HttpResponseStatus.INSUFFICIENT_STORAGE, cause);
        }
        ctx.close();
    }

    /** Declares a form as bytes, so that TorchServe does not parse it; FORM_TYPE keeps what the client declared. */
    private static void keepForm(HttpHeaders headers) {
        String type = headers.get(HttpHeaderNames.CONTENT_TYPE, "");
        headers.remove(FORM_TYPE);
        if (FORMS.stream().anyMatch(form -> type.regionMatches(true, 0, form, 0, form.length()))) {
            headers.set(FORM_TYPE, type).set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_OCTET_STREAM);
        }
    }

    private static HttpResponseStatus statusOf(Throwable thrown) {
        return STATUS.entrySet().stream()
                .filter(entry -> entry.getKey().isInstance(thrown))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(HttpResponseStatus.INTERNAL_SERVER_ERROR);
    }

    /** Tells the gate of all bytes that arrive, before they form a message. */
    private static final class Arrivals extends ChannelInboundHandlerAdapter {

        private final RequestGate gate;

        Arrivals(RequestGate gate) {
            this.gate = gate;
        }

        @Override
        public void channelRead(ChannelHandlerContext ctx, Object message) {
            gate.bytesArrived();
            ctx.fireChannelRead(message);
        }
    }

    /** Answers 413 with a JSON body to bodies that are too large; the gate refuses those that are only announced. */
    private static final class Aggregator extends HttpObjectAggregator {

        Aggregator(int limit) {
            super(limit);
        }

        @Override
        protected void handleOversizedMessage(ChannelHandlerContext ctx, HttpMessage oversized) {
            boolean bodyFollows = HttpUtil.isKeepAlive(oversized) && !(oversized instanceof FullHttpMessage);
            ctx.writeAndFlush(JsonErrorResponse.tooLarge(maxContentLength()))
                    .addListener(bodyFollows ? ChannelFutureListener.CLOSE_ON_FAILURE : ChannelFutureListener.CLOSE);
        }
    }
}
