# A container in each state. `$asked`: how a health check is asked here; `$later`: so that none has been yet.
run orders localhost/orders:1 /probe
run ended localhost/orders:1 /probe 3
run loop --restart always localhost/orders:1 /probe 1
run well --health-cmd 0 $asked localhost/orders:1 /probe
run ill --health-cmd 1 $asked --health-retries 1 localhost/orders:1 /probe
run starting --health-cmd 0 ${later:-$asked} localhost/orders:1 /probe
engine create --network none --name created localhost/orders:1 /probe >/dev/null
