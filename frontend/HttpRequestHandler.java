package org.pytorch.serve.http;

import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.handler.codec.http.FullHttpMessage;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.QueryStringDecoder;
import java.io.IOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.pytorch.serve.archive.DownloadArchiveException;
import org.pytorch.serve.archive.model.ModelException;
import org.pytorch.serve.archive.model.ModelNotFoundException;
import org.pytorch.serve.archive.model.ModelVersionNotFoundException;
import org.pytorch.serve.archive.workflow.WorkflowNotFoundException;
import org.pytorch.serve.util.ConfigManager;
import org.pytorch.serve.util.NettyUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Replaces TorchServe 0.12.0's class of the same name, by its place on the class path. The differences:
 *
 * <ul>
 *   <li>A form-encoded body, curl's default content type, reaches the handler unchanged. TorchServe parses it as a
 *       form, which damages pictures, or answers 500 and logs their bytes.
 *   <li>Malformed multipart bodies get 400 instead of 500, and their memory is released.
 *   <li>A body above max_request_size gets 413 with a JSON body instead of an empty one.
 *   <li>A full queue gets 503 with an error that names the queue instead of a lack of workers.
 *   <li>Each request passes the RequestGate first.
 * </ul>
 *
 * <p>`make frontend` compiles this folder into frontend.jar.
 */
public class HttpRequestHandler extends SimpleChannelInboundHandler<FullHttpRequest> {

    private static final Logger logger = LoggerFactory.getLogger(HttpRequestHandler.class);

    private static final String MULTIPART_DECODERS = "io.netty.handler.codec.http.multipart.";

    private static final String BAD_MULTIPART =
            "the multipart body is malformed; send fields as curl -F data=@picture.png does";

    private static final String BUSY =
            "the server is busy: its queue is full, or no worker is running; try again later";

    /** The first matching class decides: subclasses come before their base classes. */
    private static final Map<Class<? extends Throwable>, HttpResponseStatus> STATUS = new LinkedHashMap<>();

    static {
        STATUS.put(ResourceNotFoundException.class, HttpResponseStatus.NOT_FOUND);
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

    public HttpRequestHandler() {}

    public HttpRequestHandler(HttpRequestHandlerChain chain) {
        handlerChain = chain;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext ctx) {
        Aggregator aggregator = new Aggregator(ConfigManager.getInstance().getMaxRequestSize());
        ctx.pipeline().replace(HttpObjectAggregator.class, "aggregator", aggregator);
        ctx.pipeline().addBefore("aggregator", "gate", new RequestGate());
    }

    @Override
    protected void channelRead0(ChannelHandlerContext ctx, FullHttpRequest req) {
        try {
            NettyUtils.requestReceived(ctx.channel(), req);
            if (!req.decoderResult().isSuccess()) {
                throw new BadRequestException("Invalid HTTP message.");
            }
            if (HttpHeaderValues.APPLICATION_X_WWW_FORM_URLENCODED.contentEqualsIgnoreCase(HttpUtil.getMimeType(req))) {
                req.headers().set(HttpHeaderNames.CONTENT_TYPE, HttpHeaderValues.APPLICATION_OCTET_STREAM);
            }
            QueryStringDecoder decoder = new QueryStringDecoder(req.uri());
            handlerChain.handleRequest(ctx, req, decoder, decoder.path().split("/"));
        } catch (Throwable t) {
            if (isMultipartFault(req, t)) {
                // A decoder whose constructor fails never releases the body: after some megabytes of such requests,
                // no memory is left for bodies. This handler's own reference stays.
                if (req.refCnt() > 1) {
                    req.release(req.refCnt() - 1);
                }
                NettyUtils.sendError(ctx, HttpResponseStatus.BAD_REQUEST, t, BAD_MULTIPART);
                return;
            }
            if (t instanceof ServiceUnavailableException) {
                FullHttpResponse busy = JsonErrorResponse.of(HttpResponseStatus.SERVICE_UNAVAILABLE, "BusyError", BUSY);
                busy.headers().set(HttpHeaderNames.RETRY_AFTER, 1);
                NettyUtils.sendHttpResponse(ctx, busy, HttpUtil.isKeepAlive(req));
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

    /**
     * Whether Netty's multipart decoder threw. It throws ErrorDataDecoderException for some malformed bodies and other
     * exceptions for others; for exceptions thrown often, the JVM omits the stack trace.
     */
    private static boolean isMultipartFault(FullHttpRequest req, Throwable thrown) {
        String type = req.headers().get(HttpHeaderNames.CONTENT_TYPE, "");
        StackTraceElement[] trace = thrown.getStackTrace();
        return thrown instanceof RuntimeException
                && type.regionMatches(true, 0, "multipart/", 0, "multipart/".length())
                && (trace.length == 0
                        || Arrays.stream(trace).anyMatch(
                                frame -> frame.getClassName().startsWith(MULTIPART_DECODERS)));
    }

    private static HttpResponseStatus statusOf(Throwable thrown) {
        return STATUS.entrySet().stream()
                .filter(entry -> entry.getKey().isInstance(thrown))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(HttpResponseStatus.INTERNAL_SERVER_ERROR);
    }

    /** Answers 413 with a JSON body to bodies that are too large, whether received or only announced. */
    private static final class Aggregator extends HttpObjectAggregator {

        Aggregator(int limit) {
            super(limit);
        }

        @Override
        protected Object newContinueResponse(HttpMessage start, int limit, ChannelPipeline pipeline) {
            Object response = super.newContinueResponse(start, limit, pipeline);
            boolean tooLarge =
                    response instanceof FullHttpResponse
                            && ((FullHttpResponse) response).status().code()
                                    == HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE.code();
            return tooLarge ? tooLargeResponse() : response;
        }

        @Override
        protected void handleOversizedMessage(ChannelHandlerContext ctx, HttpMessage oversized) {
            boolean bodyFollows = HttpUtil.isKeepAlive(oversized) && !(oversized instanceof FullHttpMessage);
            ctx.writeAndFlush(tooLargeResponse())
                    .addListener(bodyFollows ? ChannelFutureListener.CLOSE_ON_FAILURE : ChannelFutureListener.CLOSE);
        }

        private FullHttpResponse tooLargeResponse() {
            return JsonErrorResponse.of(
                    HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE,
                    "TooManyBytesError",
                    String.format("the request is too large; at most %,d bytes are accepted", maxContentLength()));
        }
    }
}
