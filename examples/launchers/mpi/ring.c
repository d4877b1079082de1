/* A number goes around all processes once; each adds its rank, and the first prints the sum. */
#include <mpi.h>
#include <stdio.h>

int main(int count, char **words) {
    int rank, size, length, sum = 0;
    char host[MPI_MAX_PROCESSOR_NAME];
    MPI_Init(&count, &words);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &length);
    printf("process %d of %d on %s\n", rank, size, host);
    if (rank > 0) {
        MPI_Recv(&sum, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    sum += rank;
    if (size > 1) {
        MPI_Send(&sum, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
    }
    if (rank == 0) {
        if (size > 1) {
            MPI_Recv(&sum, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        printf("the sum is %d\n", sum);
    }
    MPI_Finalize();
    return 0;
}
