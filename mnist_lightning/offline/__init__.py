"""Answer pictures without a server, as the server would: `pool` starts processes, `worker` is what they run."""
