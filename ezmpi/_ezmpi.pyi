from typing import Any, Callable, Dict, List, Optional, Set, Tuple, type_check_only

from typing_extensions import disjoint_base

from ._failures import Failures, Plan

def load_transport(path: str, library: Optional[str], /) -> Any: ...
def start_transport(transport: Any, /) -> None: ...
def fork_workers(
    transport: Any, workers: int, serve: Callable[[int], object], /
) -> Any: ...
def serve_in_child(crew: Any, /) -> None: ...
def part(transport: Any, handle: int, /) -> None: ...
def set_ending(transport: Any, seconds: float, code: int, /) -> None: ...
def drive(crew: Any, /) -> None: ...
def stop_driving(crew: Any, /) -> None: ...
def describe_transport(transport: Any, /) -> Tuple[str, str, str]: ...

@type_check_only
class ResultIterator:
    def __iter__(self) -> ResultIterator: ...
    def __next__(self) -> Any: ...
    def next(self, timeout: Optional[float] = ...) -> Any: ...
    def _take(self, timeout: Optional[float], /) -> Optional[Tuple[bool, Any]]: ...
    def close(self) -> None: ...

@disjoint_base
class MPIPool:
    def __init__(
        self,
        transport: Any,
        handle: Any,
        use_dill: bool = ...,
        test_mode: bool = ...,
        initializer: Optional[Callable[..., object]] = ...,
        initargs: Tuple[Any, ...] = ...,
        retries: Optional[Plan] = ...,
        local: Any = ...,
        timeout: int = ...,
    ) -> None: ...
    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def _ranks(self) -> Set[int]: ...
    @property
    def _broken(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def _handle(self) -> int: ...
    def map(
        self,
        worker: Callable[[Any], Any],
        tasks: Any,
        callback: Any = ...,
        return_results: bool = ...,
        *,
        chunksize: Optional[int] = ...,
        progress: Optional[Callable[..., object]] = ...,
        _failures: Optional[Failures] = ...,
        _arrived: Optional[Callable[[Any, int], object]] = ...,
    ) -> Optional[List[Any]]: ...
    def wait(self, callback: Optional[Callable[[], object]] = ...) -> None: ...
    def close(self) -> None: ...
    def _part(self, seconds: float, /) -> None: ...
    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Any,
        chunksize: Optional[int] = ...,
        *,
        progress: Optional[Callable[..., object]] = ...,
        _failures: Optional[Failures] = ...,
    ) -> List[Any]: ...
    def _begin(
        self,
        func: Callable[..., Any],
        tasks: Any,
        future: Any,
        star: bool,
        chunksize: Optional[int],
        failures: Optional[Failures] = ...,
        /,
    ) -> Any: ...
    def _iterate(
        self,
        func: Callable[..., Any],
        tasks: Any,
        star: bool,
        unordered: bool,
        chunksize: Optional[int],
        window: int,
        show: Optional[Callable[..., object]],
        failures: Optional[Failures] = ...,
        arrived: Optional[Callable[[Any, int], object]] = ...,
        calm: List[bool] = ...,
        /,
    ) -> ResultIterator: ...
    def _call(
        self,
        func: Callable[..., Any],
        args: Tuple[Any, ...],
        kwargs: Dict[str, Any],
        future: Any,
        rank: Optional[int],
        /,
    ) -> Any: ...
    def _share(self, key: Any, value: Any, /) -> None: ...
    def _unshare(self, key: Any, /) -> None: ...
    def _end(self) -> None: ...
    def _waiting(self) -> List[Any]: ...
    def _abandon(self, why: str, iterators: bool, /) -> None: ...
    def _workers_status(
        self,
    ) -> List[
        Tuple[
            int, Optional[str], bool, Optional[str], bool, int, int, int, Optional[float]
        ]
    ]: ...
    def _join(self, timeout: Optional[float], workers: bool, /) -> bool: ...
