/* An LSTM in C that Lockstep can check: one layer, one direction, with or without lengths, float32 or float64.
 *
 *   gcc -O2 -o ./lstm cases/ports/lstm.c -lm
 *   lockstep check --command "./lstm {problem} {answer}"
 *
 * It reads the problem's safetensors file by itself, on machines that store numbers with the lowest byte first, and
 * computes in double whatever the file holds. What is not one plain layer it leaves out, by exit status 77.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double *values; /* NULL if the file has no such array */
    size_t shape[3];
} Array;

static char *header, *data; /* the two parts of the file behind its first 8 bytes, which are the header's length */

static void stop(int status, const char *reason, const char *what) {
    fprintf(stderr, "%s%s\n", reason, what);
    exit(status);
}

static void *room(size_t count, size_t size) {
    return calloc(count + 1, size); /* one more: of nothing there is room too, and behind a text a 0 */
}

static void read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    uint64_t length = 0;
    if (!file || fread(&length, 8, 1, file) != 1 || fseek(file, 0, SEEK_END)) stop(1, "cannot read ", path);
    size_t size = (size_t)ftell(file) - 8 - length;
    header = room(length, 1);
    data = room(size, 1);
    if (fseek(file, 8, SEEK_SET) || fread(header, 1, length, file) != length || fread(data, 1, size, file) != size)
        stop(1, "cannot read all of ", path);
    fclose(file);
}

/* An array by its name, told of by the header as "x":{"dtype":"F32","shape":[9,4,3],"data_offsets":[0,432]}. */
static Array array(const char *name) {
    Array found = {NULL, {1, 1, 1}};
    char key[32], *entry = (snprintf(key, sizeof key, "\"%s\":{", name), strstr(header, key));
    if (!entry) return found;
    char *dtype = strstr(entry, "\"dtype\":\"") + 9, *next = strstr(entry, "\"shape\":[") + 9;
    size_t count = 1, start = strtoul(strstr(entry, "\"data_offsets\":[") + 16, NULL, 10);
    for (int axis = 0; axis < 3 && *next >= '0' && *next <= '9'; axis++, next += *next == ',')
        count *= found.shape[axis] = strtoul(next, &next, 10);
    found.values = room(count, sizeof(double));
    for (size_t k = 0; k < count; k++) {
        float single;
        int64_t whole;
        if (!strncmp(dtype, "F32", 3)) memcpy(&single, data + start + 4 * k, 4), found.values[k] = single;
        else if (!strncmp(dtype, "F64", 3)) memcpy(&found.values[k], data + start + 8 * k, 8);
        else if (!strncmp(dtype, "I64", 3)) memcpy(&whole, data + start + 8 * k, 8), found.values[k] = (double)whole;
        else stop(77, "arrays must be F32 or F64, not as is ", name);
    }
    return found;
}

static double sigmoid(double z) { return 1 / (1 + exp(-z)); }

/* YOUR LSTM HERE: h and c after each timestep, (T, B, H). W (4H, I), R (4H, H) and b (4H) have gates i, f, g, o. */
static void lstm(size_t T, size_t B, size_t I, size_t H, const double *x, const double *W, const double *R,
                 const double *b, const double *h0, const double *c0, const double *lengths, double *h_seq,
                 double *c_seq) {
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < B * H; n++) {
            size_t in_batch = n / H, unit = n % H, here = t * B * H, before = here - B * H;
            const double *h = (t ? h_seq + before : h0) + in_batch * H, *c = t ? c_seq + before : c0;
            double z[4];
            for (size_t gate = 0; gate < 4; gate++) {
                size_t row = gate * H + unit;
                z[gate] = b[row];
                for (size_t k = 0; k < I; k++) z[gate] += W[row * I + k] * x[(t * B + in_batch) * I + k];
                for (size_t k = 0; k < H; k++) z[gate] += R[row * H + k] * h[k];
            }
            double i = sigmoid(z[0]), f = sigmoid(z[1]), g = tanh(z[2]), o = sigmoid(z[3]);
            int ended = lengths && (double)t >= lengths[in_batch]; /* then h is 0, and the state stays what it was */
            c_seq[here + n] = ended ? c[n] : f * c[n] + i * g;
            h_seq[here + n] = ended ? 0 : o * tanh(c_seq[here + n]);
        }
}

static void write_array(FILE *file, const double *values, size_t count, int wide) {
    for (size_t k = 0; k < count; k++) {
        float single = (float)values[k];
        fwrite(wide ? (const void *)&values[k] : &single, wide ? 8 : 4, 1, file);
    }
}

int main(int count, char **words) {
    if (count != 3) stop(1, "two paths are needed: PROBLEM ANSWER", "");
    read_file(words[1]);
    if (!strstr(header, "\\\"plain\\\":true")) stop(77, "only one plain layer, without gradients, is computed", "");
    Array x = array("x"), W = array("W"), R = array("R"), b = array("b"), h0 = array("h0"), c0 = array("c0");
    size_t T = x.shape[0], B = x.shape[1], H = R.shape[1], size = T * B * H;
    double *h_seq = room(size, sizeof(double)), *c_seq = room(size, sizeof(double));
    lstm(T, B, x.shape[2], H, x.values, W.values, R.values, b.values, h0.values, c0.values, array("lengths").values,
         h_seq, c_seq);
    int wide = strstr(header, "\\\"dtype\\\":\\\"float64") != NULL;
    size_t bytes = size * (wide ? 8 : 4);
    char text[400], entry[100];
    snprintf(entry, sizeof entry, "\"dtype\":\"F%d\",\"shape\":[%zu,%zu,%zu],", wide ? 64 : 32, T, B, H);
    uint64_t length = (uint64_t)snprintf(text, sizeof text,
        "{\"h_seq\":{%s\"data_offsets\":[0,%zu]},\"c_seq\":{%s\"data_offsets\":[%zu,%zu]}}", entry, bytes, entry, bytes,
        2 * bytes);
    FILE *file = fopen(words[2], "wb");
    if (!file) stop(1, "cannot write ", words[2]);
    fwrite(&length, 8, 1, file);
    fwrite(text, 1, length, file);
    write_array(file, h_seq, size, wide);
    write_array(file, c_seq, size, wide);
    return fclose(file) ? 1 : 0;
}
