"""Lightning's logger for a run of MLflow that is open already."""

from lightning.pytorch.loggers import MLFlowLogger

from mnist_lightning.tracking import runs


class RunLogger(MLFlowLogger):
    """Logs curves to a run, and leaves its end to the code that has opened it: more is logged after the training."""

    def __init__(self, experiment: str, run_id: str) -> None:
        super().__init__(experiment_name=experiment, tracking_uri=runs.tracking_uri(), run_id=run_id)

    def finalize(self, status: str = "success") -> None:
        """Do nothing. Lightning's own logger ends the run here, and MLflow then measures the system no longer."""
