#!lua name=jingyi_2

-- The number rises with the meaning of the arguments: beside processes of an earlier release, which call its own
-- functions, the two libraries live in one store while a system is upgraded.

-- lost: whether an instance may be more than is kept of it: the store has no generation, or one that says `lost:` (it
-- was emptied: only of what it has not) or `older:` (it is a copy: also of what it has) and the Unix milliseconds, and
-- the case (a UUIDv7) is no younger.
local function lost(instance, version, generation)
  if not generation then
    return version == '0'
  end
  local kind, since = string.match(generation, '^(%l+):(%d+)$')
  if not since or (kind == 'lost' and version ~= '0') or string.sub(instance, 15, 15) ~= '7' then
    return false
  end
  return tonumber(string.sub(instance, 1, 8) .. string.sub(instance, 10, 13), 16) <= tonumber(since)
end

-- How many causes that moved nothing an instance knows again, and how often one actor may move it.
local UNMOVED, MOVES = 512, 2000

-- expire_drill: a drill that waits for nothing is gone a day after it moved last; nobody asks for it then.
local function expire_drill(key, due)
  if due == '' then
    redis.call('EXPIRE', key, 86400)
  else
    redis.call('PERSIST', key)
  end
end

-- remember_unmoved: remember a cause that moved nothing, and forget the oldest such.
local function remember_unmoved(key, cause, fingerprint)
  local place = 'q:' .. redis.call('HINCRBY', key, 'q', 1) % UNMOVED
  local oldest = redis.call('HGET', key, place)
  if oldest then
    redis.call('HDEL', key, oldest)
  end
  redis.call('HSET', key, cause, fingerprint, place, cause)
end

-- learn: one machine learns one message: state, applied id, deadline, list and outbox change together or not at all.
-- KEYS state, outbox, due, listed, wrapped case key, generation
-- ARGV expected version, cause, fingerprint, state ('' if unchanged), drill, instance, member, due ms ('' if none),
--      listed since ms ('' if not), new wrapped key ('' if none), actor whose moves are counted ('' if nobody's),
--      then (topic, key, headers, value) for each event
-- Reply {OK, row id…} | {KNOWN, version, state, drill, fingerprint} | {STALE, version, state, drill} | {KEY} | {LOST}
--       | {MANY}
local function learn(keys, args)
  local cause, moves = 'i:' .. args[2], 'a:' .. args[11]
  local kept = redis.call('HMGET', keys[1], 'v', 's', 'd', cause, moves)
  local version = kept[1] or '0'
  if kept[4] then
    return {'KNOWN', version, kept[2] or '', kept[3] or '', kept[4]}
  end
  if lost(args[6], version, redis.call('GET', keys[6])) then
    return {'LOST'}
  end
  if version ~= args[1] then
    return {'STALE', version, kept[2] or '', kept[3] or ''}
  end
  if args[4] == '' then
    remember_unmoved(keys[1], cause, args[3])
    return {'OK'}
  end
  if args[11] ~= '' and tonumber(kept[5] or 0) >= MOVES then
    return {'MANY'}
  end
  if args[10] ~= '' then
    local held = redis.call('GET', keys[5])
    if held and held ~= args[10] then
      return {'KEY'}
    end
    redis.call('SET', keys[5], args[10])
  end
  -- First, for what a store refuses half-way is not taken back: an event that is said twice does no harm, one unsaid does.
  local reply = {'OK'}
  for at = 12, #args, 4 do
    reply[#reply + 1] =
      redis.call('XADD', keys[2], '*', 't', args[at], 'k', args[at + 1], 'h', args[at + 2], 'v', args[at + 3])
  end
  redis.call('HSET', keys[1], 'v', version + 1, 's', args[4], 'd', args[5], cause, args[3])
  if args[11] ~= '' then
    redis.call('HINCRBY', keys[1], moves, 1)
  end
  if args[5] == '1' then
    expire_drill(keys[1], args[8])
    redis.call('EXPIRE', keys[5], 86400)
  end
  if args[8] == '' then
    redis.call('ZREM', keys[3], args[7])
  else
    redis.call('ZADD', keys[3], args[8], args[7])
  end
  if args[9] == '' then
    redis.call('ZREM', keys[4], args[6])
  else
    redis.call('ZADD', keys[4], 'NX', args[9], args[6])
  end
  return reply
end

-- lease: hold or renew a name for a while. KEYS lease; ARGV who, milliseconds, then, of a process just started whose
-- name nobody shares, what all its lives are called before the hyphen and the twelve characters of each: an earlier
-- one is dead. Reply 1 if it is ours now.
local function lease(keys, args)
  local holder = redis.call('GET', keys[1])
  local earlier = args[3] and holder and #holder == #args[3] + 13 and string.find(holder, args[3] .. '-', 1, true) == 1
  if holder and holder ~= args[1] and not earlier then
    return 0
  end
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return 1
end

-- restore: write one instance as the log of record has it, unless there is one. No event, no effect.
-- KEYS state, due, listed
-- ARGV version, state, drill, instance, member, due ms ('' if none), listed since ms ('' if not), fingerprint,
--      then each applied cause
-- Reply 1 if written, 0 if the instance was there
local function restore(keys, args)
  if redis.call('EXISTS', keys[1]) == 1 then
    return 0
  end
  redis.call('HSET', keys[1], 'v', args[1], 's', args[2], 'd', args[3])
  for at = 9, #args do
    redis.call('HSET', keys[1], 'i:' .. args[at], args[8])
  end
  if args[3] == '1' then
    expire_drill(keys[1], args[6])
  end
  if args[6] ~= '' then
    redis.call('ZADD', keys[2], args[6], args[5])
  end
  if args[7] ~= '' then
    redis.call('ZADD', keys[3], args[7], args[4])
  end
  return 1
end

redis.register_function('restore_2', restore)
redis.register_function('learn_2', learn)
redis.register_function('lease_2', lease)
