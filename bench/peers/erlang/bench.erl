%% The kernels in Erlang: `erl -noshell -run bench main KERNEL [SIZE]` prints `<name> <seconds> <check>`.
-module(bench).
-export([main/1]).

spawn_join(N) ->
    Me = self(),
    Pids = [spawn(fun() -> Me ! {self(), I} end) || I <- lists:seq(0, N - 1)],
    lists:foldl(fun(P, S) -> receive {P, V} -> S + V end end, 0, Pids).

ping_pong(N) ->
    Me = self(),
    P = spawn(fun() -> echo(Me) end),
    V = pp(P, N, 0),
    P ! stop,
    V.
echo(Me) -> receive stop -> ok; V -> Me ! (V + 1), echo(Me) end.
pp(_, 0, V) -> V;
pp(P, N, V) -> P ! V, receive W -> pp(P, N - 1, W) end.

%% Process 0 is started last, so every other process knows its successor when it starts; the last one is told.
ring(Tasks, Hops) ->
    Me = self(),
    Last = spawn(fun() -> receive {next, First} -> ring_node(Tasks - 1, First, Me) end end),
    First = lists:foldl(fun(Id, Next) -> spawn(fun() -> ring_node(Id, Next, Me) end) end,
                        Last, lists:seq(Tasks - 2, 0, -1)),
    Last ! {next, First},
    First ! Hops,
    receive {done, Id} -> Id end.
ring_node(Id, Next, Me) ->
    receive
        0 -> Me ! {done, Id};
        V -> Next ! (V - 1), ring_node(Id, Next, Me)
    end.

fan_in(Producers, Each) ->
    Me = self(),
    [spawn(fun() -> [Me ! I || I <- lists:seq(0, Each - 1)], ok end) || _ <- lists:seq(1, Producers)],
    collect(Producers * Each, 0).
collect(0, S) -> S;
collect(N, S) -> receive V -> collect(N - 1, S + V) end.

call_server(N) ->
    P = spawn(fun() -> server(0) end),
    V = calls(P, N, 0),
    exit(P, kill),
    V.
server(S) -> receive {From, Ref, inc} -> From ! {Ref, S + 1}, server(S + 1) end.
calls(_, 0, V) -> V;
calls(P, N, _) ->
    Ref = erlang:monitor(process, P),
    P ! {self(), Ref, inc},
    receive {Ref, V} -> erlang:demonitor(Ref, [flush]), calls(P, N - 1, V) end.

idle(N) ->
    Me = self(),
    [spawn(fun() -> timer_sleep(2000), Me ! done end) || _ <- lists:seq(1, N)],
    [receive done -> ok end || _ <- lists:seq(1, N)],
    N.
timer_sleep(Ms) -> receive after Ms -> ok end.

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

main([Name | Rest]) ->
    Arg = fun(D) -> case Rest of [X | _] -> list_to_integer(X); [] -> D end end,
    T = erlang:monotonic_time(microsecond),
    R = case Name of
            "spawn_join" -> spawn_join(Arg(1000000));
            "ping_pong" -> ping_pong(Arg(500000));
            "ring" -> ring(503, Arg(1000000));
            "fan_in" -> fan_in(4, Arg(250000));
            "call_server" -> call_server(Arg(500000));
            "idle" -> idle(Arg(1000000));
            "fib" -> fib(Arg(32))
        end,
    io:format("~s ~.4f ~p~n", [Name, (erlang:monotonic_time(microsecond) - T) / 1.0e6, R]),
    halt(0).
