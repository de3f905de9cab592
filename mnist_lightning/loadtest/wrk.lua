-- wrk's script: POSTs the files of a folder in turn; prints, last, one line of JSON.
-- Arguments: the Content-Type, then the files' paths.

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
   io.write(string.format(
      '\n{"answers": %d, "refused": %d, "late": %d, "broken": %d, "seconds": %f, "p50": %.3f, "p95": %.3f, "p99": %.3f}\n',
      summary.requests, errors.status, errors.timeout, errors.connect + errors.read + errors.write,
      summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
