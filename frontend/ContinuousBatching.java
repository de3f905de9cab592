package org.pytorch.serve.wlm;

import java.lang.reflect.Field;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingDeque;
import org.pytorch.serve.job.Job;
import org.pytorch.serve.util.messages.WorkerCommands;

/**
 * Replaces TorchServe 0.12.0's class of the same name by its place on the class path; {@code serve} selects it with
 * {@code continuousBatching: true}. A free worker takes all waiting requests, up to the batch size, and never waits for
 * more: batches form while the workers are busy, and a lone request is passed on at once.
 *
 * <p>TorchServe's own aggregator waits {@code maxBatchDelay}, at least a millisecond, after the first request of a
 * batch, and holds a lock meanwhile, so that one worker collects all requests while the others wait.
 */
public class ContinuousBatching extends BatchAggregator {

    private final ConcurrentMap<String, LinkedBlockingDeque<Job>> queues;

    public ContinuousBatching(Model model) {
        super(model);
        this.queues = queuesOf(model);
    }

    @Override
    public void pollBatch(String thread, WorkerState state) throws InterruptedException, ExecutionException {
        LinkedBlockingDeque<Job> commands = queues.get(thread);
        if (state != WorkerState.WORKER_MODEL_LOADED || (commands != null && !commands.isEmpty())) {
            super.pollBatch(thread, state);
            return;
        }
        LinkedBlockingDeque<Job> waiting = queues.get(Model.DEFAULT_DATA_QUEUE);
        Job job = waiting.take();
        jobs.put(job.getJobId(), job);
        while (job.getCmd() != WorkerCommands.DESCRIBE && jobs.size() < model.getBatchSize()) {
            job = waiting.poll();
            if (job == null) {
                return;
            }
            if (job.getCmd() == WorkerCommands.DESCRIBE) {
                waiting.addFirst(job); // has a batch to itself
            } else if (job.getPayload().getClientExpireTS() > System.currentTimeMillis()) {
                jobs.put(job.getJobId(), job);
            }
        }
    }

    @SuppressWarnings("unchecked") // the declared type of Model.jobsDb
    private static ConcurrentMap<String, LinkedBlockingDeque<Job>> queuesOf(Model model) {
        try {
            Field field = Model.class.getDeclaredField("jobsDb");
            field.setAccessible(true);
            return (ConcurrentMap<String, LinkedBlockingDeque<Job>>) field.get(model);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("this class supports TorchServe 0.12.0 alone", e);
        }
    }
}
