from sycam.cli import main

main()
