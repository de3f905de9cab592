package org.pytorch.serve.grpcimpl;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import io.grpc.Status;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.InferParameter;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.InferTensorContents;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferRequest;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferRequest.InferInputTensor;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferRequest.InferRequestedOutputTensor;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelInferResponse.InferOutputTensor;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelMetadataResponse;
import org.pytorch.serve.grpc.openinference.OpenInferenceGrpc.ModelMetadataResponse.TensorMetadata;

/** The Open Inference Protocol's gRPC messages from and to its HTTP form, JSON followed by binary data. */
final class OpenInferenceMessages {

    private static final String HEADER_LENGTH = "Inference-Header-Content-Length";

    /** Bytes of a message without its raw_input_contents, whose parts take many times as much when they are parsed. */
    private static final int MAX_PARSED = 512 * 1024;

    /** Elements of a message's lists, except for numbers. */
    private static final int MAX_ELEMENTS = 64;

    /** As many of these bytes as each of the raw_input_contents counts for. */
    private static final int RAW_OVERHEAD = 64;

    private OpenInferenceMessages() {}

    /** A request in the protocol's HTTP form. */
    static final class Request {
        final String model;
        final String version;
        final Map<String, String> headers;
        final byte[] body;

        Request(String model, String version, Map<String, String> headers, byte[] body) {
            this.model = model;
            this.version = version;
            this.headers = headers;
            this.body = body;
        }
    }

    /**
     * A ModelInferRequest in HTTP form, in which all outputs are asked for in binary. Throws StatusRuntimeException
     * if it has none. Messages are converted one at a time, because each may need much memory.
     */
    static synchronized Request toRequest(byte[] message) throws IOException {
        checkLength(message);
        return toRequest(ModelInferRequest.parseFrom(message));
    }

    private static void checkLength(byte[] message) throws IOException {
        CodedInputStream stream = CodedInputStream.newInstance(message);
        int length = 0;
        for (int tag = stream.readTag(); tag != 0; tag = stream.readTag()) {
            int before = stream.getTotalBytesRead();
            stream.skipField(tag);
            boolean raw = WireFormat.getTagFieldNumber(tag) == ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER;
            length += raw ? RAW_OVERHEAD : stream.getTotalBytesRead() - before + 1;
            if (length > MAX_PARSED) {
                throw invalid(
                        String.format("at most %,d bytes are accepted outside of raw_input_contents", MAX_PARSED));
            }
        }
    }

    private static Request toRequest(ModelInferRequest request) {
        checkCount("inputs", request.getInputsCount());
        checkCount("outputs", request.getOutputsCount());
        int raw = request.getRawInputContentsCount();
        if (raw != 0 && raw != request.getInputsCount()) {
            throw invalid("raw_input_contents must have one element for each input");
        }
        JsonObject json = new JsonObject();
        if (!request.getId().isEmpty()) {
            json.addProperty("id", request.getId());
        }
        JsonObject parameters = toJson(request.getParametersMap());
        parameters.addProperty("binary_data_output", true);
        json.add("parameters", parameters);
        ByteArrayOutputStream contents = new ByteArrayOutputStream();
        JsonArray inputs = new JsonArray();
        for (int index = 0; index < request.getInputsCount(); index++) {
            ByteString content = raw == 0 ? null : request.getRawInputContents(index);
            inputs.add(toJson(request.getInputs(index), content, contents));
        }
        json.add("inputs", inputs);
        JsonArray outputs = new JsonArray();
        for (InferRequestedOutputTensor output : request.getOutputsList()) {
            JsonObject wanted = new JsonObject();
            wanted.addProperty("name", output.getName());
            JsonObject own = toJson(output.getParametersMap());
            own.addProperty("binary_data", true);
            wanted.add("parameters", own);
            outputs.add(wanted);
        }
        json.add("outputs", outputs);
        byte[] header = json.toString().getBytes(StandardCharsets.UTF_8);
        byte[] body = new byte[header.length + contents.size()];
        System.arraycopy(header, 0, body, 0, header.length);
        System.arraycopy(contents.toByteArray(), 0, body, header.length, contents.size());
        Map<String, String> headers = Map.of(HEADER_LENGTH, String.valueOf(header.length));
        return new Request(request.getModelName(), request.getModelVersion(), headers, body);
    }

    static ModelInferResponse toResponse(byte[] body, Map<String, String> headers) {
        int at = Integer.parseInt(headers.get(HEADER_LENGTH));
        JsonObject json = parse(body, at);
        ModelInferResponse.Builder response = ModelInferResponse.newBuilder();
        response.setModelName(json.get("model_name").getAsString());
        if (json.has("id")) {
            response.setId(json.get("id").getAsString());
        }
        for (JsonElement element : json.getAsJsonArray("outputs")) {
            JsonObject output = element.getAsJsonObject();
            InferOutputTensor.Builder tensor = response.addOutputsBuilder();
            tensor.setName(output.get("name").getAsString()).setDatatype(output.get("datatype").getAsString());
            output.getAsJsonArray("shape").forEach(size -> tensor.addShape(size.getAsLong()));
            int length = output.getAsJsonObject("parameters").get("binary_data_size").getAsInt();
            response.addRawOutputContents(ByteString.copyFrom(body, at, length));
            at += length;
        }
        return response.build();
    }

    static ModelMetadataResponse toMetadata(byte[] body) {
        JsonObject json = parse(body, body.length);
        ModelMetadataResponse.Builder metadata = ModelMetadataResponse.newBuilder();
        metadata.setName(json.get("name").getAsString()).setPlatform(json.get("platform").getAsString());
        json.getAsJsonArray("versions").forEach(version -> metadata.addVersions(version.getAsString()));
        addTensors(json, "inputs", metadata::addInputs);
        addTensors(json, "outputs", metadata::addOutputs);
        return metadata.build();
    }

    /** The status that stands for an HTTP status and its JSON body. */
    static Status toStatus(int status, byte[] body) {
        JsonObject error = parse(body, body.length);
        String message = error.has("message") ? error.get("message").getAsString() : "the server failed";
        String type = error.has("type") ? error.get("type").getAsString() + ": " : "";
        return statusOf(status).withDescription(type + message);
    }

    /** An error of TorchServe's own as a body. */
    static byte[] toError(String message) {
        JsonObject error = new JsonObject();
        error.addProperty("message", message);
        return error.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static Status statusOf(int status) {
        switch (status) {
            case 500:
                return Status.INTERNAL;
            case 501:
                return Status.UNIMPLEMENTED;
            default:
                return status < 500 ? Status.INVALID_ARGUMENT : Status.UNAVAILABLE;
        }
    }

    private static JsonObject toJson(InferInputTensor input, ByteString raw, ByteArrayOutputStream contents) {
        JsonObject tensor = new JsonObject();
        tensor.addProperty("name", input.getName());
        tensor.addProperty("datatype", input.getDatatype());
        JsonArray shape = new JsonArray();
        input.getShapeList().forEach(shape::add);
        tensor.add("shape", shape);
        JsonObject parameters = toJson(input.getParametersMap());
        tensor.add("parameters", parameters);
        if (raw == null && !input.getDatatype().equals("BYTES")) {
            tensor.add("data", numbersOf(input));
            return tensor;
        }
        int before = contents.size();
        if (raw != null) {
            contents.writeBytes(raw.toByteArray());
        } else {
            for (ByteString string : input.getContents().getBytesContentsList()) {
                ByteBuffer length = ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
                contents.writeBytes(length.putInt(string.size()).array());
                contents.writeBytes(string.toByteArray());
            }
        }
        parameters.addProperty("binary_data_size", contents.size() - before);
        return tensor;
    }

    private static JsonArray numbersOf(InferInputTensor input) {
        JsonArray data = new JsonArray();
        contentsOf(input.getDatatype(), input.getContents()).forEach(data::add);
        return data;
    }

    /** The numbers of a datatype; none if it is not the protocol's, which the worker refuses. */
    private static List<? extends Number> contentsOf(String datatype, InferTensorContents contents) {
        switch (datatype) {
            case "INT8":
            case "INT16":
            case "INT32":
                return contents.getIntContentsList();
            case "INT64":
                return contents.getInt64ContentsList();
            case "UINT8":
            case "UINT16":
            case "UINT32":
                return contents.getUintContentsList();
            case "UINT64":
                return contents.getUint64ContentsList();
            case "FP32":
                return contents.getFp32ContentsList();
            case "FP64":
                return contents.getFp64ContentsList();
            default:
                return List.of();
        }
    }

    private static void checkCount(String what, int count) {
        if (count > MAX_ELEMENTS) {
            throw invalid(String.format("%d %s; the limit is %d", count, what, MAX_ELEMENTS));
        }
    }

    private static JsonObject toJson(Map<String, InferParameter> parameters) {
        checkCount("parameters", parameters.size());
        JsonObject json = new JsonObject();
        parameters.forEach(
                (name, value) -> {
                    switch (value.getParameterChoiceCase()) {
                        case BOOL_PARAM:
                            json.addProperty(name, value.getBoolParam());
                            break;
                        case INT64_PARAM:
                            json.addProperty(name, value.getInt64Param());
                            break;
                        default:
                            json.addProperty(name, value.getStringParam());
                    }
                });
        return json;
    }

    private static void addTensors(JsonObject json, String name, Consumer<TensorMetadata> add) {
        for (JsonElement element : json.getAsJsonArray(name)) {
            JsonObject tensor = element.getAsJsonObject();
            TensorMetadata.Builder metadata = TensorMetadata.newBuilder();
            metadata.setName(tensor.get("name").getAsString()).setDatatype(tensor.get("datatype").getAsString());
            tensor.getAsJsonArray("shape").forEach(size -> metadata.addShape(size.getAsLong()));
            add.accept(metadata.build());
        }
    }

    /** The JSON object in the first bytes; without members if there is none. */
    private static JsonObject parse(byte[] body, int length) {
        try {
            return JsonParser.parseString(new String(body, 0, length, StandardCharsets.UTF_8)).getAsJsonObject();
        } catch (JsonParseException | IllegalStateException e) {
            return new JsonObject();
        }
    }

    private static RuntimeException invalid(String message) {
        return Status.INVALID_ARGUMENT.withDescription(message).asRuntimeException();
    }
}
