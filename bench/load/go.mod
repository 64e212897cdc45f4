module chancery/bench/load

go 1.22
