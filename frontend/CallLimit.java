package org.pytorch.serve.grpcimpl;

import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.Status;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.pytorch.serve.util.ConfigManager;

/**
 * Bounds the memory of gRPC messages, which the library holds as they arrive: so many calls are in progress at once
 * that messages of the largest size take a quarter of the heap's maximum. As many others wait as may take another
 * quarter, and the rest is refused. A call whose message does not arrive in time ends.
 */
final class CallLimit {

    private static final long BUDGET = Runtime.getRuntime().maxMemory() / 4;

    private static final int MAX_CALLS =
            (int) Math.max(2, BUDGET / ConfigManager.getInstance().getMaxRequestSize());

    /** The library reads up to 8 MiB of a connection for which no message is asked. */
    private static final int MAX_WAITING = (int) Math.max(2, BUDGET / (8 << 20));

    private static final long MAX_ARRIVAL_SECONDS = 10;

    private static final String BUSY = "too many calls at once; try again later";

    private static final String TOO_SLOW =
            "the message did not arrive in time: within " + MAX_ARRIVAL_SECONDS + " s";

    private static final ScheduledExecutorService TIMER =
            Executors.newSingleThreadScheduledExecutor(
                    task -> {
                        Thread thread = new Thread(task, "grpc-arrivals");
                        thread.setDaemon(true);
                        return thread;
                    });

    private static final Queue<Call<?, ?>> waiting = new ArrayDeque<>();

    private static int running;

    private CallLimit() {}

    static <Q, A> ServerCall.Listener<Q> start(
            ServerCall<Q, A> original, Metadata headers, ServerCallHandler<Q, A> next) {
        Call<Q, A> call = new Call<>(original);
        if (!admit(call)) {
            original.close(Status.RESOURCE_EXHAUSTED.withDescription(BUSY), new Metadata());
            return new ServerCall.Listener<>() {};
        }
        return new SimpleForwardingServerCallListener<>(next.startCall(call, headers)) {
            @Override
            public void onHalfClose() {
                call.arrived();
                super.onHalfClose();
            }

            @Override
            public void onCancel() {
                end(call);
                super.onCancel();
            }

            @Override
            public void onComplete() {
                end(call);
                super.onComplete();
            }
        };
    }

    /** Starts a call, or lets it wait; false if it may do neither. */
    private static synchronized boolean admit(Call<?, ?> call) {
        if (running < MAX_CALLS) {
            running++;
            call.run();
            return true;
        }
        return waiting.size() < MAX_WAITING && waiting.add(call);
    }

    /** Ends a call, and starts the one that waits longest in its place. */
    private static synchronized void end(Call<?, ?> call) {
        call.arrived();
        if (waiting.remove(call)) {
            return;
        }
        Call<?, ?> first = waiting.poll();
        if (first == null) {
            running--;
        } else {
            first.run();
        }
    }

    /** A call that asks for its message when it runs. */
    private static final class Call<Q, A> extends SimpleForwardingServerCall<Q, A> {

        private boolean isRunning;

        private int requested;

        private Future<?> timeout;

        Call(ServerCall<Q, A> original) {
            super(original);
        }

        @Override
        public synchronized void request(int messages) {
            if (isRunning) {
                super.request(messages);
            } else {
                requested += messages;
            }
        }

        synchronized void run() {
            isRunning = true;
            timeout = TIMER.schedule(this::expire, MAX_ARRIVAL_SECONDS, TimeUnit.SECONDS);
            if (requested > 0) {
                super.request(requested);
            }
        }

        synchronized void arrived() {
            if (timeout != null) {
                timeout.cancel(false);
            }
        }

        private void expire() {
            close(Status.DEADLINE_EXCEEDED.withDescription(TOO_SLOW), new Metadata());
        }
    }
}
