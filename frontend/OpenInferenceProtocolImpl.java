package org.pytorch.serve.grpcimpl;

import com.google.protobuf.Message;
import io.grpc.BindableService;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.UUID;
import org.pytorch.serve.archive.model.ModelNotFoundException;
import org.pytorch.serve.archive.model.ModelVersionNotFoundException;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferRequest;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelMetadataRequest;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelMetadataResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelReadyRequest;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelReadyResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ServerLiveResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ServerMetadataResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ServerReadyResponse;
import org.pytorch.serve.http.InFlight;
import org.pytorch.serve.http.Router;
import org.pytorch.serve.job.Job;
import org.pytorch.serve.util.messages.InputParameter;
import org.pytorch.serve.util.messages.RequestInput;
import org.pytorch.serve.util.messages.WorkerCommands;
import org.pytorch.serve.wlm.ModelManager;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Replaces TorchServe 0.12.0's class of the same name, by its place on the class path: the gRPC service of the Open
 * Inference Protocol. TorchServe's own has another name than that of the protocol, so that no client finds it; it reads
 * no raw_input_contents, which most clients send; and it is always ready.
 *
 * <p>A request goes to a worker in the protocol's HTTP form with binary data, so that the worker knows one form alone.
 */
public class OpenInferenceProtocolImpl implements BindableService {

    private static final Logger logger = LoggerFactory.getLogger(OpenInferenceProtocolImpl.class);

    private static final String SERVICE = "inference.GRPCInferenceService";

    /** Bytes of a message without pictures. */
    private static final int MAX_SHORT = 64 * 1024;

    private static final String NO_MEMORY =
            "the server has no memory for another request of this size now; try again later";

    private static final String BUSY =
            "the server is busy: its queue is full, or no worker is running; try again later";

    /** A method of the service. It may throw StatusRuntimeException. */
    private interface Method<A> {
        void call(byte[] request, ServerCallStreamObserver<A> observer) throws IOException;
    }

    /** Gets a worker's answer: an HTTP status, a body and headers. */
    private interface Answer {
        void accept(int status, byte[] body, Map<String, String> headers) throws IOException;
    }

    @Override
    public ServerServiceDefinition bindService() {
        ServerServiceDefinition.Builder service = ServerServiceDefinition.builder(SERVICE);
        add(service, "ServerLive", ServerLiveResponse.getDefaultInstance(), MAX_SHORT, this::serverLive);
        add(service, "ServerReady", ServerReadyResponse.getDefaultInstance(), MAX_SHORT, this::serverReady);
        add(service, "ServerMetadata", ServerMetadataResponse.getDefaultInstance(), MAX_SHORT, this::serverMetadata);
        add(service, "ModelReady", ModelReadyResponse.getDefaultInstance(), MAX_SHORT, this::modelReady);
        add(service, "ModelMetadata", ModelMetadataResponse.getDefaultInstance(), MAX_SHORT, this::modelMetadata);
        add(service, "ModelInfer", ModelInferResponse.getDefaultInstance(), Integer.MAX_VALUE, this::modelInfer);
        return service.build();
    }

    private void serverLive(byte[] request, ServerCallStreamObserver<ServerLiveResponse> observer) {
        finish(observer, ServerLiveResponse.newBuilder().setLive(true).build());
    }

    private void serverReady(byte[] request, ServerCallStreamObserver<ServerReadyResponse> observer) {
        ask(Router.MODEL, "", Map.of(Router.RESOURCE, Router.READY), new byte[0], observer,
                (status, body, headers) ->
                        finish(observer, ServerReadyResponse.newBuilder().setReady(status == 200).build()));
    }

    private void serverMetadata(byte[] request, ServerCallStreamObserver<ServerMetadataResponse> observer) {
        ServerMetadataResponse.Builder metadata = ServerMetadataResponse.newBuilder();
        metadata.setName(Router.SERVER_NAME).setVersion(Router.version()).addAllExtensions(Router.EXTENSIONS);
        finish(observer, metadata.build());
    }

    private void modelReady(byte[] bytes, ServerCallStreamObserver<ModelReadyResponse> observer)
            throws IOException {
        ModelReadyRequest request = ModelReadyRequest.parseFrom(bytes);
        ask(request.getName(), request.getVersion(), Map.of(Router.RESOURCE, Router.READY), new byte[0], observer,
                (status, body, headers) ->
                        finish(observer, ModelReadyResponse.newBuilder().setReady(status == 200).build()));
    }

    private void modelMetadata(byte[] bytes, ServerCallStreamObserver<ModelMetadataResponse> observer)
            throws IOException {
        ModelMetadataRequest request = ModelMetadataRequest.parseFrom(bytes);
        Map<String, String> resource = Map.of(Router.RESOURCE, Router.MODEL_METADATA);
        ask(request.getName(), request.getVersion(), resource, new byte[0], observer,
                (status, body, headers) -> finish(observer, OpenInferenceMessages.toMetadata(checked(status, body))));
    }

    private void modelInfer(byte[] bytes, ServerCallStreamObserver<ModelInferResponse> observer)
            throws IOException {
        if (!InFlight.reserve(bytes.length, bytes.length)) {
            throw Status.RESOURCE_EXHAUSTED.withDescription(NO_MEMORY).asRuntimeException();
        }
        InFlight.begin();
        boolean asked = false;
        try {
            OpenInferenceMessages.Request request = OpenInferenceMessages.toRequest(bytes);
            ask(request.model, request.version, request.headers, request.body, observer,
                    (status, body, headers) -> {
                        InFlight.end(bytes.length);
                        finish(observer, OpenInferenceMessages.toResponse(checked(status, body), headers));
                    });
            asked = true;
        } finally {
            if (!asked) {
                InFlight.end(bytes.length);
            }
        }
    }

    /** The body of an answer; throws StatusRuntimeException if the answer is an error. */
    private static byte[] checked(int status, byte[] body) {
        if (status != 200) {
            throw OpenInferenceMessages.toStatus(status, body).asRuntimeException();
        }
        return body;
    }

    /** Sends a request to a worker. Throws StatusRuntimeException if the model is unknown, or the queue full. */
    private static void ask(
            String model,
            String version,
            Map<String, String> headers,
            byte[] body,
            ServerCallStreamObserver<?> observer,
            Answer answer) {
        RequestInput input = new RequestInput(UUID.randomUUID().toString());
        headers.forEach(input::updateHeaders);
        input.addParameter(new InputParameter("body", body, "application/octet-stream"));
        try {
            Job job = new WorkerJob(model, version.isEmpty() ? null : version, input, observer, answer);
            if (!ModelManager.getInstance().addJob(job)) {
                throw Status.UNAVAILABLE.withDescription(BUSY).asRuntimeException();
            }
        } catch (ModelNotFoundException | ModelVersionNotFoundException e) {
            throw Status.NOT_FOUND.withDescription(e.getMessage()).asRuntimeException();
        }
    }

    private static <A> void finish(ServerCallStreamObserver<A> observer, A response) {
        if (!observer.isCancelled()) {
            observer.onNext(response);
            observer.onCompleted();
        }
    }

    private static void fail(ServerCallStreamObserver<?> observer, Exception e) {
        if (observer.isCancelled()) {
            return;
        }
        if (e instanceof StatusRuntimeException) {
            observer.onError(e);
        } else if (e instanceof IOException) {
            observer.onError(invalid("the message is no valid protobuf"));
        } else {
            logger.error("a call failed: {}", e.toString());
            observer.onError(Status.INTERNAL.withDescription("the server failed on this request").asRuntimeException());
        }
    }

    private static <A extends Message> void add(
            ServerServiceDefinition.Builder service, String name, A response, int maxLength, Method<A> method) {
        MethodDescriptor<byte[], A> descriptor =
                MethodDescriptor.<byte[], A>newBuilder()
                        .setType(MethodDescriptor.MethodType.UNARY)
                        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
                        .setRequestMarshaller(new Unparsed())
                        .setResponseMarshaller(ProtoUtils.marshaller(response))
                        .build();
        service.addMethod(
                descriptor,
                ServerCalls.asyncUnaryCall(
                        (request, streamObserver) -> {
                            ServerCallStreamObserver<A> observer = (ServerCallStreamObserver<A>) streamObserver;
                            observer.setOnCancelHandler(() -> {}); // else an answer to a client that left throws
                            try {
                                if (InFlight.isStopping()) {
                                    throw Status.UNAVAILABLE.withDescription(InFlight.STOPPING).asRuntimeException();
                                }
                                if (request.length > maxLength) {
                                    throw invalid("the message is too long");
                                }
                                method.call(request, observer);
                            } catch (IOException | RuntimeException e) {
                                fail(observer, e);
                            }
                        }));
    }

    private static StatusRuntimeException invalid(String message) {
        return Status.INVALID_ARGUMENT.withDescription(message).asRuntimeException();
    }

    /** A request to a worker, whose answer goes to a callback. No exception of it reaches the worker's thread. */
    private static final class WorkerJob extends Job {

        private final ServerCallStreamObserver<?> observer;

        private final Answer answer;

        WorkerJob(
                String model, String version, RequestInput input, ServerCallStreamObserver<?> observer, Answer answer) {
            super(model, version, WorkerCommands.PREDICT, input);
            this.observer = observer;
            this.answer = answer;
        }

        @Override
        public void response(
                byte[] body, CharSequence type, int status, String phrase, Map<String, String> headers) {
            try {
                answer.accept(status, body, headers);
            } catch (IOException | RuntimeException e) {
                fail(observer, e);
            }
        }

        @Override
        public void sendError(int status, String error) {
            response(OpenInferenceMessages.toError(error), null, status, null, Map.of());
        }

        @Override
        public boolean isOpen() {
            return !observer.isCancelled();
        }
    }

    /** Passes messages on as bytes, which are parsed when memory is reserved for them. */
    private static final class Unparsed implements MethodDescriptor.Marshaller<byte[]> {

        @Override
        public InputStream stream(byte[] message) {
            return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
