"""What makes a picture unreadable. The server's error messages are theirs, and their names the `type` in a response."""


class BadPictureError(ValueError):
    """The input cannot be read as a picture of a digit."""


class NotAPictureError(BadPictureError):
    """The bytes are not a picture, or a truncated or damaged one."""


class TooManyPixelsError(BadPictureError):
    """Decoding the picture would take too much memory, or took too long."""


class BusyDecoderError(BadPictureError):
    """Other pictures of the same batch have used up its time for formats that decode slowly."""


class TooManyDigitsError(BadPictureError):
    """The picture, or all pictures of a request, show too many digits."""


class NoDigitError(BadPictureError):
    """The picture has no ink, or is almost entirely ink."""
