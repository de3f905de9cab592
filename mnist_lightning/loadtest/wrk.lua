-- wrk script: POST the files of a folder in turn, and print one line of JSON at the end.
-- Arguments: the Content-Type, then the paths of the files.

local requests, turn = {}, 0

function init(arguments)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = arguments[1]
   local token = os.getenv("MNIST_TOKEN")
   if token and token ~= "" then
      wrk.headers["Authorization"] = "Bearer " .. token
   end
   for index = 2, #arguments do
      local file = assert(io.open(arguments[index], "rb"))
      requests[index - 1] = wrk.format(nil, nil, nil, file:read("*a"))
      file:close()
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   local fields = '"responses": %d, "error_responses": %d, "timeouts": %d, "connection_errors": %d, '
      .. '"seconds": %f, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f'
   io.write(string.format(
      "\n{" .. fields .. "}\n",
      summary.requests, errors.status, errors.timeout, errors.connect + errors.read + errors.write,
      summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
