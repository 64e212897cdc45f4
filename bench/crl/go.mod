module example.org/chancery/bench/crl

go 1.21
