module example.com/fetch-go

go 1.21
