"""Multipart forms, as browsers and `curl -F` send them."""

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from mnist_lightning.inference.errors import BadFormError, TooManyPicturesError

MULTIPART = "multipart/"
MAX_HEADER_SIZE = 1024  # bytes in a header of a field
MAX_HEADERS = 8  # of a field


def parse_form(body: bytes | bytearray, content_type: str, max_fields: int) -> list[tuple[str, bytes]]:
    """The names and contents of a multipart body's fields, in order.

    If some fields have a file name, they are the pictures, and the others, such as a form's text fields, are left out.

    Raises BadFormError, or TooManyPicturesError if there are more than `max_fields`.
    """
    _, options = parse_options_header(content_type)
    fields: list[tuple[str, str | None, list[bytes]]] = []
    try:
        with PushMultipartParser(
            options.get("boundary", ""),
            max_header_size=MAX_HEADER_SIZE,
            max_header_count=MAX_HEADERS,
            max_segment_count=max_fields,
        ) as parser:
            for event in parser.parse(bytes(body)):
                if isinstance(event, MultipartSegment):
                    fields.append((event.name, event.filename, []))
                elif event:
                    fields[-1][2].append(event)
    except ParserLimitReached as error:
        if len(fields) == max_fields:
            raise TooManyPicturesError(f"more than {max_fields} fields in one request") from error
        raise BadFormError(f"a field's headers are too long or too many: {error}") from error
    except MultipartError as error:
        reason = next(iter(error.args), error)  # the first of them: the others are exceptions
        raise BadFormError(
            f"the multipart body is malformed: {reason}; send fields as curl -F data=@picture.png does"
        ) from error
    has_files = any(file is not None for _, file, _ in fields)
    return [(name, b"".join(parts)) for name, file, parts in fields if file is not None or not has_files]
