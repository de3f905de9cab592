"""How a command that runs until it is stopped reacts to signals."""

import signal


def interrupt_once() -> None:
    """Make SIGTERM and Ctrl-C raise KeyboardInterrupt, and only the first of them.

    A second one would interrupt what the first one started, such as the end of child processes. A SIGINT that the
    process ignores from its start, as a background job of a shell does, stays ignored.
    """
    stopping = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        stopping.append(signal.SIGINT)

    def interrupt(*_: object) -> None:
        for each in stopping:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in stopping:
        signal.signal(each, interrupt)
