-- Computing kernels, for lua5.4 and luajit: `lua5.4 bench.lua KERNEL [SIZE]` prints `<name> <seconds> <check>`.
local kernels = {}
function kernels.fib(n)
  local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
  return fib(n or 32)
end
function kernels.loop(n)
  local s = 0
  for i = 0, (n or 20000000) - 1 do s = (s + i * 3) % 1000003 end
  return s
end
function kernels.sieve(n)
  n = n or 2000000
  local composite, count = {}, 0
  for i = 1, n do composite[i] = false end
  for i = 2, n do
    if not composite[i] then
      count = count + 1
      for j = i * i, n, i do composite[j] = true end
    end
  end
  return count
end
function kernels.trees(depth)
  local function make(d) if d == 0 then return {} end return { left = make(d - 1), right = make(d - 1) } end
  local function check(t) if t.left == nil then return 1 end return 1 + check(t.left) + check(t.right) end
  local total = 0
  for _ = 1, 16 do total = total + check(make(depth or 14)) end
  return total
end
function kernels.words(n)
  local counts = {}
  for i = 0, (n or 1000000) - 1 do
    local k = "w" .. (i * 7919) % 5003
    counts[k] = (counts[k] or 0) + 1
  end
  local c = 0
  for _, v in pairs(counts) do c = c + v end
  return c
end
function kernels.queens(n)
  n = n or 10
  local function place(row, cols, d1, d2)
    if row > n then return 1 end
    local total = 0
    for c = 1, n do
      if not cols[c] and not d1[row + c] and not d2[row - c + n] then
        cols[c], d1[row + c], d2[row - c + n] = true, true, true
        total = total + place(row + 1, cols, d1, d2)
        cols[c], d1[row + c], d2[row - c + n] = nil, nil, nil
      end
    end
    return total
  end
  return place(1, {}, {}, {})
end
local name = arg[1]
local t = os.clock()
local r = kernels[name](arg[2] and tonumber(arg[2]))
print(string.format("%s %.4f %s", name, os.clock() - t, tostring(r)))
