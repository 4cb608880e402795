-- Before this stand NAME, FAIL_OPEN, ALONE and SCRIPT. SCRIPT runs with nothing but what is in env, and no function of
-- it for longer than LIMIT instructions. What is wrong with it is told in the log and, unless FAIL_OPEN, answered
-- with an error: Envoy itself would let the request go on, and refuse a SCRIPT that fails while it is loaded.
local LIMIT, MOST = 1000000, 1000000
local G, sethook, pcall, type = _G, debug.sethook, pcall, type
local late

local function rearm()
  late = false
  sethook(function()
    late = true
    error("it takes more than " .. LIMIT .. " instructions", 0)
  end, "", LIMIT)
end

-- What was late is so for whoever catches it too.
local function unless_late(ok, ...)
  if late then error("it takes more than " .. LIMIT .. " instructions", 0) end
  return ok, ...
end

local rep = string.rep
string.dump = nil
string.rep = function(s, n, ...)
  if #s * n > MOST then error("string.rep would make more than " .. MOST .. " bytes", 2) end
  return rep(s, n, ...)
end

local function told(problem)
  return type(problem) == "string" and problem or "an error that is no text"
end

local env = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs,
  rawequal = rawequal, rawget = rawget, rawset = rawset, select = select, setmetatable = setmetatable,
  tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, _VERSION = _VERSION,
  bit = bit, math = math, string = string, table = table,
  os = {clock = os.clock, date = os.date, difftime = os.difftime, time = os.time},
  pcall = function(f, ...) return unless_late(pcall(f, ...)) end,
  getmetatable = function(v) return type(v) == "table" and getmetatable(v) or nil end,
}
env._G = env
-- Envoy puts it there after this was loaded.
setmetatable(env, {__metatable = false, __index = function(_, k)
  if k == "EnvoyTimestampResolution" then return G.EnvoyTimestampResolution end
end})

local function loaded()
  local chunk, problem = loadstring(SCRIPT, "=script")
  if not chunk then return problem end
  setfenv(chunk, env)
  jit.off(chunk, true) -- compiled code counts no instructions
  rearm()
  local ok
  ok, problem = pcall(chunk)
  if not ok then return told(problem) end
end

local broken = loaded()

-- Of what a handle has, the first would reach what the policy's author may not, the second change the route
-- that other filters have looked at, and after the others no error can be answered. While a body is waited for, Envoy
-- passes over the other extensions.
local body
local function narrow(handle)
  local methods = getmetatable(handle)
  body = body or methods.body
  if not ALONE then methods.body = nil end
  methods.httpCall, methods.clearRouteCache, methods.bodyChunks, methods.trailers = nil, nil, nil, nil
end

local function run(f, handle)
  if broken then return broken end
  if type(f) ~= "function" then return end
  narrow(handle)
  rearm()
  local ok, problem = pcall(f, handle)
  if not ok then return told(problem) end
end

-- An error that ends a function here is counted by Envoy. One about a request that is answered for it is told of
-- by the answer, which comes by this filter too.
function envoy_on_request(handle)
  local problem = run(env.envoy_on_request, handle)
  if problem and FAIL_OPEN then error(NAME .. ": " .. problem, 0) end
  if problem then
    handle:streamInfo():dynamicMetadata():set("weft.extensions", NAME, problem)
    handle:respond({[":status"] = "500"}, "")
  end
end

local function answered_for(handle)
  local problems = handle:streamInfo():dynamicMetadata():get("weft.extensions")
  return problems and problems[NAME]
end

function envoy_on_response(handle)
  local problem = answered_for(handle)
  if problem then error(NAME .. ": " .. problem, 0) end
  problem = not broken and run(env.envoy_on_response, handle)
  if not problem then return end
  if not FAIL_OPEN then
    pcall(function()
      handle:headers():replace(":status", "500")
      local all = body(handle, true)
      if all then all:setBytes("") end
    end)
  end
  error(NAME .. ": " .. problem, 0)
end
