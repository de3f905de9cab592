package org.pytorch.serve.grpcimpl;

import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import org.pytorch.serve.http.Token;
import org.pytorch.serve.util.ConnectorType;
import org.pytorch.serve.util.TokenAuthorization;

/**
 * Replaces TorchServe 0.12.0's class of the same name by its place on the class path: accepts a gRPC call if it has
 * the token that HTTP requests need as well and CallLimit has room for it, and writes no access log; refuses all calls
 * of the management service, which could stop every worker, and streams, for which TorchServe's workers need a handler
 * that streams: a call ended the worker's thread. It does not support TorchServe's own tokens.
 */
public class GRPCInterceptor implements ServerInterceptor {

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private static final String NO_STREAMS = "this server has no streams; use Predictions or ModelInfer";

    private final boolean management;

    public GRPCInterceptor(ConnectorType connectorType) {
        if (TokenAuthorization.isEnabled()) {
            throw new IllegalStateException("set disable_token_authorization=true; this server uses its own tokens");
        }
        management = connectorType == ConnectorType.MANAGEMENT_CONNECTOR;
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        if (management) {
            return refuse(call, Status.PERMISSION_DENIED.withDescription("this server cannot be managed by gRPC"));
        }
        if (!Token.REQUIRED.matches(headers.get(AUTHORIZATION))) {
            return refuse(call, Status.UNAUTHENTICATED.withDescription(Token.MISSING));
        }
        if (call.getMethodDescriptor().getType() != MethodDescriptor.MethodType.UNARY) {
            return refuse(call, Status.UNIMPLEMENTED.withDescription(NO_STREAMS));
        }
        return CallLimit.start(call, headers, next);
    }

    private static <Q, A> ServerCall.Listener<Q> refuse(ServerCall<Q, A> call, Status status) {
        call.close(status, new Metadata());
        return new ServerCall.Listener<>() {};
    }
}
