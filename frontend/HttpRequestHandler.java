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
 * Stands before TorchServe 0.12.0's class of this name on the class path and does what that one does, but for this:
 *
 * <ul>
 *   <li>A form-encoded body, which curl declares where no type is named, is handed over as it is. TorchServe takes it
 *       apart as a form: pictures arrive damaged, or not at all with a 500 and their bytes in the log.
 *   <li>Multipart that cannot be taken apart is the sender's fault: 400, not 500, and its memory is given back.
 *   <li>A body above max_request_size gets its 413 with a JSON body, not with an empty one.
 *   <li>A full queue is told as what it is, not as a lack of workers.
 *   <li>Before all that, a request passes the Entrance.
 * </ul>
 *
 * <p>Built by `make frontend`, into frontend.jar beside this file.
 */
public class HttpRequestHandler extends SimpleChannelInboundHandler<FullHttpRequest> {

    private static final Logger logger = LoggerFactory.getLogger(HttpRequestHandler.class);

    private static final String MULTIPART_DECODERS = "io.netty.handler.codec.http.multipart.";

    private static final String BAD_MULTIPART =
            "the multipart body cannot be taken apart; send fields as curl -F data=@picture.png does";

    private static final String BUSY =
            "the server is busy: its queue is full, or no worker is running; try again later";

    /** The first class that fits decides, so that the special ones come first. */
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
        ctx.pipeline().addBefore("aggregator", "entrance", new Entrance());
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
            if (isOfMultipart(req, t)) {
                // A decoder that fails while it is made keeps the body for ever: after some megabytes of such
                // requests no body finds room any more. One reference is this handler's own.
                if (req.refCnt() > 1) {
                    req.release(req.refCnt() - 1);
                }
                NettyUtils.sendError(ctx, HttpResponseStatus.BAD_REQUEST, t, BAD_MULTIPART);
                return;
            }
            if (t instanceof ServiceUnavailableException) {
                FullHttpResponse busy = Refusal.of(HttpResponseStatus.SERVICE_UNAVAILABLE, "BusyError", BUSY);
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
        // A client that hung up is no fault of this server's.
        if (!(cause instanceof IOException)) {
            logger.error("a connection failed: {}", cause.toString());
        }
        if (cause instanceof OutOfMemoryError) {
            NettyUtils.sendError(ctx, HttpResponseStatus.INSUFFICIENT_STORAGE, cause);
        }
        ctx.close();
    }

    /**
     * Whether it was the body that could not be taken apart. Netty's decoder says ErrorDataDecoderException of some
     * broken bodies, and stumbles over others; where it stumbled often, Java no longer tells the place.
     */
    private static boolean isOfMultipart(FullHttpRequest req, Throwable thrown) {
        String type = req.headers().get(HttpHeaderNames.CONTENT_TYPE, "");
        StackTraceElement[] places = thrown.getStackTrace();
        return thrown instanceof RuntimeException
                && type.regionMatches(true, 0, "multipart/", 0, "multipart/".length())
                && (places.length == 0
                        || Arrays.stream(places).anyMatch(at -> at.getClassName().startsWith(MULTIPART_DECODERS)));
    }

    private static HttpResponseStatus statusOf(Throwable thrown) {
        return STATUS.entrySet().stream()
                .filter(entry -> entry.getKey().isInstance(thrown))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(HttpResponseStatus.INTERNAL_SERVER_ERROR);
    }

    /** Refuses with a JSON body what is too large, whether it has come or is only announced. */
    private static final class Aggregator extends HttpObjectAggregator {

        Aggregator(int most) {
            super(most);
        }

        @Override
        protected Object newContinueResponse(HttpMessage start, int most, ChannelPipeline pipeline) {
            Object response = super.newContinueResponse(start, most, pipeline);
            boolean refused =
                    response instanceof FullHttpResponse
                            && ((FullHttpResponse) response).status().code()
                                    == HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE.code();
            return refused ? tooLarge() : response;
        }

        @Override
        protected void handleOversizedMessage(ChannelHandlerContext ctx, HttpMessage oversized) {
            boolean rest = HttpUtil.isKeepAlive(oversized) && !(oversized instanceof FullHttpMessage);
            ctx.writeAndFlush(tooLarge())
                    .addListener(rest ? ChannelFutureListener.CLOSE_ON_FAILURE : ChannelFutureListener.CLOSE);
        }

        private FullHttpResponse tooLarge() {
            return Refusal.of(
                    HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE,
                    "TooManyBytesError",
                    String.format("the request is too large; at most %,d bytes are read", maxContentLength()));
        }
    }
}
