package org.pytorch.serve.http;

import io.prometheus.client.Gauge;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The requests of all connections between their first header and their answer: their memory is bounded, and the server
 * answers them before it ends.
 *
 * <p>A large body is held up to three times: as it arrives, in the queue, and on its way to a worker. So all bodies
 * together take at most a quarter of the heap's maximum, and large ones half of that, so that small ones get through.
 */
public final class InFlight {

    public static final String STOPPING = "the server is stopping";

    private static final long BUDGET = Runtime.getRuntime().maxMemory() / 4;

    private static final long LARGE_BUDGET = BUDGET / 2;

    private static final long LARGE = 64 * 1024;

    /** Less than the time after which serving/torchserve.py kills this process. */
    private static final long DRAIN_NANOS = TimeUnit.SECONDS.toNanos(3);

    private static final Gauge REQUESTS =
            Gauge.build("mnist_requests_in_flight", "Requests between their first header and their answer").register();

    private static final Gauge BYTES =
            Gauge.build("mnist_body_bytes_in_flight", "Size of the bodies of the requests in flight").register();

    private static final AtomicLong requests = new AtomicLong();

    private static final AtomicLong bytes = new AtomicLong();

    private static volatile boolean stopping;

    static {
        handleTermination();
    }

    private InFlight() {}

    public static boolean isStopping() {
        return stopping;
    }

    public static void begin() {
        REQUESTS.set(requests.incrementAndGet());
    }

    public static void end(long held) {
        REQUESTS.set(requests.decrementAndGet());
        BYTES.set(bytes.addAndGet(-held));
    }

    /** Reserves memory for `added` bytes of a body of which `total` are known; false if there is none. */
    public static boolean reserve(long added, long total) {
        long now = bytes.addAndGet(added);
        if (now > (total > LARGE ? LARGE_BUDGET : BUDGET)) {
            bytes.addAndGet(-added);
            return false;
        }
        BYTES.set(now);
        return true;
    }

    /**
     * On SIGTERM, refuses new requests and answers the others, then exits. TorchServe's own shutdown hook, which closes
     * all connections, runs at the exit. Signals have no public interface in Java, hence the reflection.
     */
    private static void handleTermination() {
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handler = Class.forName("sun.misc.SignalHandler");
            InvocationHandler exit =
                    (proxy, method, arguments) -> {
                        stopping = true;
                        long deadline = System.nanoTime() + DRAIN_NANOS;
                        while (requests.get() > 0 && System.nanoTime() < deadline) {
                            Thread.sleep(10);
                        }
                        System.exit(0);
                        return null;
                    };
            Object proxy = Proxy.newProxyInstance(handler.getClassLoader(), new Class<?>[] {handler}, exit);
            signal.getMethod("handle", signal, handler)
                    .invoke(null, signal.getConstructor(String.class).newInstance("TERM"), proxy);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("this Java has no sun.misc.Signal", e);
        }
    }
}
