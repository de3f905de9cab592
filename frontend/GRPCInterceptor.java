package org.pytorch.serve.grpcimpl;

import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import org.pytorch.serve.http.Token;
import org.pytorch.serve.util.ConnectorType;
import org.pytorch.serve.util.TokenAuthorization;

/**
 * Stands before TorchServe 0.12.0's class of this name on the class path: lets a call of gRPC in if it has the token
 * that is asked for over HTTP as well, and writes no log. TorchServe's own tokens it does not know.
 */
public class GRPCInterceptor implements ServerInterceptor {

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    public GRPCInterceptor(ConnectorType connectorType) {
        if (TokenAuthorization.isEnabled()) {
            throw new IllegalStateException("set disable_token_authorization=true; this server has tokens of its own");
        }
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        if (Token.ASKED_FOR.isIn(headers.get(AUTHORIZATION))) {
            return next.startCall(call, headers);
        }
        call.close(Status.UNAUTHENTICATED.withDescription(Token.MISSING), new Metadata());
        return new ServerCall.Listener<>() {};
    }
}
