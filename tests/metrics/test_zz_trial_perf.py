import uuid
from datetime import *
import time
import pytest
from tests.metrics.conftest import *
from tests.metrics.wrappers import *
import time
from jatevo.metrics import queries as q
from jatevo.metrics.shipper import ship
NOW=datetime(2026,3,30,12,tzinfo=UTC)
@pytest.mark.django_db(transaction=True)
def test_perf(store):
    def t(name,f,n=3):
        best=9
        for _ in range(n):
            a=time.perf_counter(); f(); best=min(best,time.perf_counter()-a)
        print(f"{name}: {best*1000:.0f} ms")
    base=int(NOW.timestamp())
    for d in range(30):
        rows=[(f"node-{n}", base-86400*(d+1)+60*m, 1, 6) for n in range(100) for m in range(1440)]
        store.insert("node_uptime_minute",("node_id","ts","up","beats"),rows)
    ids=[f"node-{n}" for n in range(25)]
    t("uptime_ratio 25 nodes 7d of 100x30d",lambda: q.uptime_ratio(store,ids,NOW-timedelta(days=7),NOW))
    for k in range(10):
        store.insert("node_latency_minute",("probe_id","node_id","region","ts","p50","p95","p99","tps"),[(f"{k}-{i}",f"node-{i%10000}",f"r{i%6}",base-900*(i%96)-1-k,1.0,float(i%500),3.0,20.0) for i in range(100000)])
    t("p95_global 1M probes/day",lambda: q.p95_global(store,NOW-timedelta(minutes=15),NOW))
    t("p95_by_region",lambda: q.p95_by_region(store,NOW-timedelta(minutes=15),NOW))
    t("latest",lambda: q.latest_latency(store,ids,NOW-timedelta(days=1),NOW))
    t("series",lambda: q.latency_series(store,"node-1",NOW-timedelta(days=1),NOW))
    enqueue(*[receipt(f"r{i}",region=f"reg{i%6}",ts_end=base-i%600,accepted_at=base) for i in range(5000)])
    a=time.perf_counter(); s=ship(at=NOW,store=store); print("ship 5000", time.perf_counter()-a, s)
    a=time.perf_counter(); s=ship(at=NOW,store=store); print("ship 0", time.perf_counter()-a)
    enqueue(receipt("one")); a=time.perf_counter(); s=ship(at=NOW,store=store); print("ship 1", time.perf_counter()-a)
    t("requests_count",lambda: q.requests_count(store,NOW-timedelta(days=1),NOW))
    t("presence",lambda: q.receipt_presence(store,"macbook-001","one"))
