module tmp2p.test/interop/harness

go 1.24
