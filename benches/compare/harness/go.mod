module tmp2p.test/compare/harness

go 1.24
