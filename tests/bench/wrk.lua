-- Arguments: the method and the size of the body. Prints one line of figures.
function init(args)
   wrk.method = args[1]
   wrk.headers["Host"] = "hello"
   local size = tonumber(args[2])
   if size > 0 then wrk.body = string.rep("x", size) end
end

function done(summary, latency)
   local wrong = summary.errors
   io.write(string.format("figures %d %d %d %d %d\n", summary.requests,
      wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout,
      summary.duration, latency:percentile(50), latency:percentile(99)))
end
