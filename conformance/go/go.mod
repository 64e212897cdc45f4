module chancery/conformance

go 1.19
