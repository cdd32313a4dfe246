/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tributary.h: the C ABI of Tributary's kernels, the only header that Java knows.
 *
 * Form. Fixed-width types and pointers only; no callback, no errno, no struct by value. Every operation is
 *     trib_status trib_<op>(trib_context*, const trib_<op>_params*)
 * and every params struct begins with its own size, so that it can grow: a caller compiled against an older header
 * passes a smaller size and gets zeros for what it does not know.
 *
 * Addresses. `uint64_t` members named here as arrays or tensors are addresses in the memory of the context's device
 * (for the host backend: ordinary pointers). The library never allocates, frees or retains them. Pointers in C
 * notation (`const trib_step*`) are ordinary host memory, read during the call only. Packed weights, the KV cache and
 * workspace are aligned to 64 bytes, other tensors to 16 at their first element (a view of heads in a fused buffer is
 * one), index arrays and lm_head's outputs to their element size. "0 = none" marks what may be left out.
 *
 * Order. Operations of one context run in the order of the calls, on the context's stream. On the host backend a call
 * returns when its work is done; on a GPU it returns when the work is enqueued. No operation allocates device memory or
 * waits. A context serves one thread at a time; several contexts run side by side.
 *
 * Errors. Every call returns a status. When it is not TRIB_OK nothing was enqueued, and trib_last_error() gives, for
 * the calling thread, one line that names the operation, the argument, what was given and what was expected.
 *
 * Words used in shapes:
 *     R  capacity of main rows of a step          Q  capacity of stream rows (a multiple of gamma)
 *     S  capacity of sequences                    P  capacity of pages of one sequence
 *     L  committed tokens of a sequence           T  nodes of a sequence's token tree (0 = causal)
 *     h  hidden size      V  vocabulary           d  head size
 *
 * Operands. A tensor that only feeds matrix products (a linear's and lm_head's x, and what rms_norm, attention and
 * SILU_GATE write for them) may be F32 or have the weight's 16-bit type. The product takes it in that type anyway, so
 * both give the same bits; a GPU reads half the bytes.
 */
#ifndef TRIBUTARY_TRIBUTARY_H
#define TRIBUTARY_TRIBUTARY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TRIB_API __attribute__((visibility("default")))
#else
#define TRIB_API
#endif

/* Raised whenever a struct or the meaning of a call changes; compared at load time. */
#define TRIB_ABI_VERSION 5

/* Tokens in one page of the KV cache. */
#define TRIB_PAGE_TOKENS 64
/* Greatest γ. */
#define TRIB_MAX_GAMMA 8
/* Greatest number of nodes in a sequence's token tree. */
#define TRIB_MAX_TREE 128
/* D: greatest depth of a node below the root; fixes the border between tiles and single keys (see attention). */
#define TRIB_MAX_DEPTH 16
/* Entries of one accepted path: root to deepest node. */
#define TRIB_MAX_PATH 17
/* Greatest k of lm_head and top_k. */
#define TRIB_MAX_TOP_K 64
/* Greatest number of output parts of a linear (q | k | v, gate | up). */
#define TRIB_MAX_PARTS 4

typedef int32_t trib_status;
enum {
    TRIB_OK = 0,
    TRIB_INVALID_ARGUMENT = 1, /* an argument is null, misaligned, out of range or disagrees with another */
    TRIB_UNSUPPORTED = 2,      /* well-formed, but this backend does not do it */
    TRIB_OUT_OF_MEMORY = 3,    /* memory for a context's own state */
    TRIB_DEVICE_ERROR = 4,     /* the device failed; the context is unusable from here on */
    TRIB_BACKEND_MISSING = 5,  /* the backend's library is not loaded, or could not be */
    TRIB_INTERNAL_ERROR = 6    /* a bug in this library */
};

enum { TRIB_BACKEND_HOST = 1, TRIB_BACKEND_CUDA = 2 };

enum { TRIB_DTYPE_NONE = 0, TRIB_DTYPE_F32 = 1, TRIB_DTYPE_BF16 = 2, TRIB_DTYPE_F16 = 3 };

enum {
    TRIB_LAYOUT_ROW_MAJOR = 0,
    /* The backend's own order of a weight [N, K], written by trib_pack_weight. */
    TRIB_LAYOUT_PACKED = 1,
    /* Likewise for [2I, K] = gate rows, then up rows, so that SILU_GATE finds both together. */
    TRIB_LAYOUT_PACKED_GATE = 2
};

/* Which rows of a step an operation works on. */
enum { TRIB_ROWS_MAIN = 1, TRIB_ROWS_STREAM = 2, TRIB_ROWS_ALL = 3 };

enum {
    TRIB_EPILOGUE_NONE = 0,
    TRIB_EPILOGUE_RESIDUAL = 1, /* y += product */
    TRIB_EPILOGUE_SILU_GATE = 2 /* y = silu(gate) * up */
};

/* Operations that need workspace, for trib_workspace_size. */
enum {
    TRIB_OP_LINEAR = 1,
    TRIB_OP_ATTENTION = 2,
    TRIB_OP_LM_HEAD = 3,
    TRIB_OP_VERIFY_TREE = 4,
    TRIB_OP_EDGE_CONFIDENCE = 5,
    TRIB_OP_COMMIT_PATH = 6,
    TRIB_OP_TOP_K = 7
};

typedef struct trib_context trib_context;

/*
 * A tensor of up to three dimensions. The last stride is 1. Unused leading dimensions have size 1: a vector [n] is
 * {1, 1, n}, a matrix [m, n] is {1, m, n}. For packed layouts the strides are ignored.
 */
typedef struct trib_tensor {
    uint64_t address;     /* 0 = none */
    uint64_t scales;      /* block scales of 8-bit types; 0 for every type supported today */
    int64_t shape[3];     /* elements */
    int64_t stride[3];    /* elements */
    uint32_t dtype;       /* TRIB_DTYPE_* */
    uint32_t layout;      /* TRIB_LAYOUT_* */
    uint32_t scale_block; /* elements that share one scale; 0 = none */
    uint32_t reserved;    /* 0 */
} trib_tensor;

/*
 * The paged KV cache: [layer][page][K | V][kv_head][TRIB_PAGE_TOKENS][head_dim] of `dtype`. Keys are stored after RoPE.
 * Slots that no token was written to may hold anything, NaN included.
 */
typedef struct trib_kv_cache {
    uint64_t address;
    uint32_t dtype; /* BF16 or F16 */
    uint32_t layers;
    uint32_t pages;
    uint32_t kv_heads;
    uint32_t head_dim; /* a multiple of 8, at most 256 */
    uint32_t reserved; /* 0 */
} trib_kv_cache;

/*
 * One step: rows of several sequences. The struct holds capacities and addresses, which are fixed when a step is built
 * (and captured as a graph); everything that changes from pass to pass lives behind the addresses, on the device, and
 * an operation may rewrite it (edge_confidence does).
 *
 * Row buffers hold R + Q rows: main rows first, [0, main_rows), stream rows from R, [R, R + stream_rows). Main rows of
 * a sequence are contiguous, in ascending node order. Stream rows come in groups of gamma: streams 1 … gamma of one
 * anchor, in order; groups stand in ascending order of their sequence.
 *
 * A sequence is causal or a tree. A causal sequence (T = 0: a chunk of prefill, or plain decoding) has rows at
 * positions L, L+1, …, whose K/V go to the slots of the same number. In a tree, node i has position L + depth(i) and slot L + i;
 * parents precede children; node 0 is the root. `masks` holds, for each node, ⌈T/64⌉ words: bit c of word w is set when
 * node 64w + c is an ancestor of the node or the node itself.
 *
 * A main row sees the slots of positions first_visible … position: the committed prefix, and in a tree its ancestors
 * and itself. A stream row sees what its anchor sees (at `row_position`, the anchor's), then streams 1 … j of its own
 * anchor. `row_node` −1 marks a stream row whose anchor is committed (a deferred draft): it sees slots first_visible …
 * row_position.
 *
 * The bounds are what the host knows of this pass (or of the passes that one captured graph serves): launches are sized
 * by them, so a small pass in a large capacity stays cheap. They never change a row's bits. 0 = the capacity.
 */
typedef struct trib_step {
    uint32_t struct_size;
    uint32_t max_sequences;     /* S */
    uint32_t max_main_rows;     /* R */
    uint32_t max_stream_rows;   /* Q */
    uint32_t gamma;             /* γ of this step, 0 … TRIB_MAX_GAMMA; 0 when Q = 0 */
    uint32_t max_pages;         /* P */
    uint32_t max_nodes;         /* capacity of tree_token and tree_parent */
    uint32_t max_mask_words;    /* capacity of masks, in 64-bit words */
    uint64_t counts;            /* int32 [4]: sequences, main_rows, stream_rows, 0 */
    uint64_t row_sequence;      /* int32 [R + Q] */
    uint64_t row_node;          /* int32 [R + Q]: main: node, or index in the chunk; stream: its anchor's node, or −1 */
    uint64_t row_position;      /* int32 [R + Q]: position of the newest main key that the row sees */
    uint64_t row_rotary;        /* int32 [R + Q]: position for RoPE */
    uint64_t row_first_visible; /* int32 [R + Q]: oldest visible position; 0 without a sliding window */
    uint64_t row_stream;        /* int32 [R + Q]: 0 for a main row, j for stream j */
    uint64_t sequence_length;   /* int32 [S]: L */
    uint64_t sequence_rows;     /* int32 [S + 1]: main rows of sequence s are [s], …, [s + 1] − 1 */
    uint64_t tree_begin;        /* int32 [S + 1]: nodes of sequence s; T = [s + 1] − [s] */
    uint64_t tree_token;        /* int32 [max_nodes] */
    uint64_t tree_parent;       /* int32 [max_nodes]: node index within the tree, −1 for the root */
    uint64_t mask_begin;        /* int32 [S]: first word of the sequence's masks */
    uint64_t masks;             /* uint64 [max_mask_words] */
    uint64_t page_table;        /* int32 [S, P] */
    uint32_t bound_main_rows;   /* main rows are at most this many, itself at most R; 0 = R */
    uint32_t bound_stream_rows; /* stream rows likewise, at most Q; 0 = Q */
    uint32_t bound_context;     /* every row_position is below it, at most P · TRIB_PAGE_TOKENS; 0 = that */
    uint32_t reserved;          /* 0 */
} trib_step;

/* One adapter's update of one output part: y_part += scale · B (A x). A device-resident table entry. */
typedef struct trib_lora {
    uint64_t a;        /* packed [rank, K] */
    uint64_t b;        /* packed [part columns, rank] */
    uint32_t rank;     /* 0 = this part has no update */
    float scale;       /* alpha / rank */
    uint32_t dtype;    /* BF16 or F16 */
    uint32_t reserved; /* 0 */
} trib_lora;

/*
 * What happens to one token's logit before a choice. A device-resident table entry. A token's logit x becomes, in fp32:
 *     x + bias
 *     x > 0 ? x / repetition_penalty : x * repetition_penalty      if prompt_count + generated > 0
 *     x − frequency_penalty * generated − presence_penalty         if generated > 0; one fused multiply-add, then one −
 * where generated = generated_count + how often the token stands on the row's path: in a tree the nodes from the root to
 * the row's own, all of them.
 */
typedef struct trib_token_adjustment {
    int32_t token;
    int32_t prompt_count;    /* occurrences in the prompt, ≥ 0 */
    int32_t generated_count; /* occurrences in the generated text before the tree's root, ≥ 0 */
    float bias;              /* finite; 0 = none */
} trib_token_adjustment;

/* How the target of one sequence is chosen. A device-resident table entry. */
typedef struct trib_sampling {
    uint64_t seed;
    float temperature;   /* 0 = greedy: the argmax, ties to the lowest id; filters and typical acceptance are ignored */
    float top_p;         /* (0, 1]; 1 = off */
    float min_p;         /* [0, 1); 0 = off */
    int32_t top_k;       /* ≥ 0; 0 = off */
    int32_t choice;      /* index of the choice within its request */
    int32_t generated;   /* tokens generated before the one that the root (or the chunk's last row) predicts */
    int32_t active;      /* 0 = no choice wanted for this sequence in this step */
    int32_t adjustments; /* entries of `adjustment`; 0 = none, and penalties have no effect */
    /* trib_token_adjustment [adjustments], each token once. With penalties every token of prompt, text and tree has one. */
    uint64_t adjustment;
    /* uint32 [max(T, 1), ⌈V/32⌉]: bit c of word w: token 32w + c may follow the node (a causal sequence: the last row);
     * at least one may. 0 = every token may. */
    uint64_t allowed;
    float repetition_penalty; /* > 0; 1 = off */
    float presence_penalty;   /* finite; 0 = off */
    float frequency_penalty;  /* finite; 0 = off */
    float typical_epsilon;    /* ε of typical acceptance, (0, 1); 0 = off: the text is that of plain decoding */
    float typical_delta;      /* δ of typical acceptance, > 0 */
    uint32_t reserved;        /* 0 */
} trib_sampling;

/* ------------------------------------------------------------------ library and context */

/* TRIB_ABI_VERSION of the library. */
TRIB_API uint32_t trib_abi_version(void);
/* The library's version, e.g. "0.1.0". Static memory. */
TRIB_API const char* trib_version(void);
/* The last error of the calling thread, one line, UTF-8; valid until this thread's next failing call. Never null. */
TRIB_API const char* trib_last_error(void);
/*
 * Offset and size in bytes of a struct's member as this library was compiled; with `field` null, offset 0 and the size
 * of the struct. INVALID_ARGUMENT for an unknown name.
 */
TRIB_API trib_status trib_struct_layout(const char* struct_name, const char* field, uint64_t* offset, uint64_t* size);
/* Loads another backend's library (libtributary_cuda.so) from `path`. Loading the same backend twice is an error. */
TRIB_API trib_status trib_backend_load(const char* path);

typedef struct trib_context_params {
    uint32_t struct_size;
    uint32_t backend; /* TRIB_BACKEND_* */
    int32_t device;   /* ordinal of the GPU; 0 for the host */
    uint32_t threads; /* host: threads that work, the caller included; 0 = one per available core */
    uint64_t stream;  /* CUDA stream; 0 for the host */
} trib_context_params;

/* Creates a context. The caller owns *context and destroys it. */
TRIB_API trib_status trib_context_create(const trib_context_params* params, trib_context** context);
/* Joins the context's threads and frees it. Null is allowed. */
TRIB_API trib_status trib_context_destroy(trib_context* context);
/* One line for people: backend, threads, instruction set. Owned by the context. */
TRIB_API const char* trib_context_description(const trib_context* context);

/* Workspace in bytes that an operation (TRIB_OP_*) needs for params of these capacities; 0 is possible. */
TRIB_API trib_status trib_workspace_size(trib_context* context, uint32_t operation, const void* params,
                                         uint64_t* bytes);

/* ------------------------------------------------------------------ weights */

/* Bytes of a packed weight [rows, columns]. */
TRIB_API trib_status trib_packed_size(trib_context* context, uint32_t dtype, uint32_t layout, int64_t rows,
                                      int64_t columns, uint64_t* bytes);

/*
 * Copies rows into a packed weight: destination rows first_row … first_row + n − 1. Parts of a fused weight (q, k, v)
 * are packed one after another. Memory of the destination that no row was packed into must be zero.
 */
typedef struct trib_pack_weight_params {
    uint32_t struct_size;
    uint32_t reserved;       /* 0 */
    trib_tensor source;      /* [n, K], row-major, BF16 or F16 */
    trib_tensor destination; /* [N, K], PACKED or PACKED_GATE, same dtype */
    int64_t first_row;
} trib_pack_weight_params;
TRIB_API trib_status trib_pack_weight(trib_context* context, const trib_pack_weight_params* params);

/* ------------------------------------------------------------------ row-wise operations */

/* y[r] = table[tokens[r]] for main rows. */
typedef struct trib_embed_params {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    const trib_step* step;
    uint64_t tokens;   /* int32 [R], each in 0 … V − 1 */
    trib_tensor table; /* [V, h] PACKED, BF16 or F16 */
    trib_tensor y;     /* [R + Q, h] F32 */
} trib_embed_params;
TRIB_API trib_status trib_embed(trib_context* context, const trib_embed_params* params);

/* y = x / sqrt(mean(x²) + epsilon) · weight over the last dimension. y may be x. */
typedef struct trib_rms_norm_params {
    uint32_t struct_size;
    uint32_t rows; /* TRIB_ROWS_* */
    const trib_step* step;
    trib_tensor x;      /* [R + Q, groups, width] F32 */
    trib_tensor weight; /* [width] BF16, F16 or F32 */
    trib_tensor y;      /* as x; or BF16 or F16, rounded, and then elsewhere than x */
    float epsilon;
    uint32_t reserved; /* 0 */
} trib_rms_norm_params;
TRIB_API trib_status trib_rms_norm(trib_context* context, const trib_rms_norm_params* params);

/* y[i] = x[index[i]] for i < *count. y may not overlap x. */
typedef struct trib_gather_rows_params {
    uint32_t struct_size;
    uint32_t max_rows; /* capacity of index */
    uint64_t index;    /* int32 [max_rows] */
    uint64_t count;    /* int32 [1] */
    trib_tensor x;     /* [*, n] F32 */
    trib_tensor y;     /* [≥ max_rows, n] F32 */
} trib_gather_rows_params;
TRIB_API trib_status trib_gather_rows(trib_context* context, const trib_gather_rows_params* params);

/*
 * y = epilogue(x Wᵀ + bias [+ scale · B (A x) on rows of adapter segments]). Operands of the product are taken in the
 * weight's type (x is rounded to it), accumulation is fp32, in one fixed order of K per output whatever the number of
 * rows. LoRA: the intermediate A x is rounded to the weight's type likewise; updates are added before the epilogue.
 */
typedef struct trib_linear_params {
    uint32_t struct_size;
    uint32_t rows; /* TRIB_ROWS_* */
    const trib_step* step;
    trib_tensor x;      /* [R + Q, K] F32 or the weight's type */
    trib_tensor weight; /* [N, K] PACKED; [2I, K] PACKED_GATE exactly when the epilogue is SILU_GATE */
    trib_tensor bias;   /* [N] BF16, F16 or F32; address 0 = none */
    trib_tensor y;      /* [R + Q, N] F32, or with SILU_GATE [R + Q, I] F32 or the weight's type; may not overlap x */
    uint32_t epilogue;  /* TRIB_EPILOGUE_* */
    uint32_t parts;     /* output parts, 1 … TRIB_MAX_PARTS; 2 with SILU_GATE */
    int32_t part_columns[4]; /* columns of each part; their sum is N */
    uint32_t adapters;       /* entries of the LoRA table; 0 = no LoRA */
    uint32_t max_rank;       /* greatest rank in the table */
    uint32_t max_segments;
    uint32_t reserved;      /* 0 */
    uint64_t lora_table;    /* trib_lora [adapters, parts] */
    uint64_t segments;      /* int32 [max_segments, 3]: first row, end row (row buffer indices), adapter or −1 */
    uint64_t segment_count; /* int32 [1] */
    uint64_t workspace;
    uint64_t workspace_bytes;
} trib_linear_params;
TRIB_API trib_status trib_linear(trib_context* context, const trib_linear_params* params);

/* ------------------------------------------------------------------ attention */

/*
 * Rotates q and k (rotary_dim leading elements of each head, halves paired: element i with i + rotary_dim/2); writes q
 * to rotated_q, k and v of main rows to their slots in the cache and of stream rows to the scratch, all rounded to the
 * cache's dtype. A value beyond that type's greatest becomes the greatest (F16: 65,504): an infinity in the cache would
 * make NaN even of rows that do not see it.
 */
typedef struct trib_rope_append_params {
    uint32_t struct_size;
    uint32_t rows; /* TRIB_ROWS_* */
    const trib_step* step;
    trib_tensor q;       /* [R + Q, q_heads, d] F32 */
    trib_tensor k;       /* [R + Q, kv_heads, d] F32 */
    trib_tensor v;       /* [R + Q, kv_heads, d] F32 */
    trib_tensor cos_sin; /* [positions, rotary_dim] F32: row p = cosines, then sines, of position p */
    trib_kv_cache cache;
    trib_tensor stream_k;  /* [Q, kv_heads, d] of the cache's dtype; address 0 when Q = 0 */
    trib_tensor stream_v;  /* likewise */
    uint32_t layer;        /* layer of the cache */
    uint32_t rotary_dim;   /* even, at most d */
    trib_tensor rotated_q; /* out, [R + Q, q_heads, d] of the cache's dtype; may not overlap q */
} trib_rope_append_params;
TRIB_API trib_status trib_rope_append(trib_context* context, const trib_rope_append_params* params);

/*
 * Multi-stream attention: softmax(scale · q Kᵀ) V over the keys that each row sees (see trib_step); q head i reads KV
 * head i / (q_heads / kv_heads).
 *
 * Reduction order, which fixes the bits of a row: for a row at position p the keys below a border b(p) ≤
 * max(0, p − TRIB_MAX_DEPTH), which are always committed, are reduced in tiles at fixed absolute positions; keys b … p
 * follow one by one in order of position; a stream row's own streams 1 … j come last. Never by slot, sibling or batch.
 * The border is the backend's: b = max(0, ⌊(p − TRIB_MAX_DEPTH)/64⌋ · 64) on the host, max(0, p − TRIB_MAX_DEPTH) on a
 * GPU, whose tensor cores take a masked tile at no cost.
 */
typedef struct trib_multi_stream_attention_params {
    uint32_t struct_size;
    uint32_t rows; /* TRIB_ROWS_* */
    const trib_step* step;
    trib_tensor q; /* [R + Q, q_heads, d] of the cache's dtype, rotated */
    trib_tensor y; /* [R + Q, q_heads, d] F32, BF16 or F16; may not overlap q */
    trib_kv_cache cache;
    trib_tensor stream_k; /* [Q, kv_heads, d]; address 0 when Q = 0 */
    trib_tensor stream_v;
    uint32_t layer;
    float scale;
    uint64_t workspace;
    uint64_t workspace_bytes;
    uint64_t next_read;       /* weights that the next operation reads, for a device to fetch ahead; 0 = none */
    uint64_t next_read_bytes; /* 0 exactly when next_read is; never written while a pass runs */
} trib_multi_stream_attention_params;
TRIB_API trib_status trib_multi_stream_attention(trib_context* context,
                                                 const trib_multi_stream_attention_params* params);

/*
 * x[R + i] = source[row_source[i]] + embeddings[row_embedding[i]] for stream rows. Speculative Streaming, insertion. With
 * row_embedding, streams of several adapters share a pass.
 */
typedef struct trib_insert_streams_params {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    const trib_step* step;
    trib_tensor source;     /* [*, h] F32: main states at insertion; may be x itself */
    uint64_t row_source;    /* int32 [Q]: row of source for each stream row */
    trib_tensor embeddings; /* [E, h] BF16, F16 or F32: P_1 … P_γ of one adapter after another; E = γ when row_embedding is 0 */
    trib_tensor x;          /* [R + Q, h] F32 */
    uint64_t row_embedding; /* int32 [Q]: row of embeddings for each stream row; 0 = stream j takes row j − 1 */
} trib_insert_streams_params;
TRIB_API trib_status trib_insert_streams(trib_context* context, const trib_insert_streams_params* params);

/*
 * Tree pruning: confidence(row) = softmax(LMHead(up (down x[parent])))[token of the row's node]; a row below
 * `threshold` goes with its whole sub-tree, roots and causal rows stay (confidence 1). Then the step is compacted in place: counts, every
 * row array, sequence_rows, and the stream rows whose anchors went, with their row_source (renumbered to the new main
 * rows). Masks, trees and slots stay as they are.
 */
typedef struct trib_edge_confidence_params {
    uint32_t struct_size;
    float threshold; /* [0, 1) */
    const trib_step* step;
    trib_tensor x;       /* [R + Q, h] F32: main states at insertion */
    trib_tensor down;    /* [rank, h] PACKED */
    trib_tensor up;      /* [h, rank] PACKED */
    trib_tensor lm_head; /* [V, h] PACKED */
    uint64_t row_source; /* int32 [Q], rewritten; 0 when Q = 0. Names main rows of this step. */
    uint64_t confidence; /* out, float [R], by old row */
    uint64_t kept;       /* out, int32 [R]: old row of each new row, for gather_rows */
    uint64_t workspace;
    uint64_t workspace_bytes;
} trib_edge_confidence_params;
TRIB_API trib_status trib_edge_confidence(trib_context* context, const trib_edge_confidence_params* params);

/* ------------------------------------------------------------------ head, verification, acceptance */

/*
 * logits = x Wᵀ, reduced per row: argmax (ties to the lowest id), max, log-sum-exp, and the top k in descending order
 * (ties to the lower id). Ids are offset by vocabulary_offset, so that shards can be merged. Rows are those of the
 * step, or, when row_index is given, x[row_index[i]] for i < *row_count with outputs at i; row_index names rows of the
 * step, each at most once, so the step's bounds hold for it too.
 */
typedef struct trib_lm_head_params {
    uint32_t struct_size;
    uint32_t rows; /* TRIB_ROWS_*; ignored with row_index */
    const trib_step* step;
    trib_tensor x;      /* [R + Q, h] F32 or the weight's type, after the final norm */
    trib_tensor weight; /* [V, h] PACKED */
    uint64_t row_index; /* int32 [max_rows]; 0 = none */
    uint64_t row_count; /* int32 [1]; 0 = none */
    uint32_t max_rows;  /* capacity of outputs: R + Q, or of row_index */
    uint32_t k;         /* 0 … TRIB_MAX_TOP_K */
    int32_t vocabulary_offset;
    uint32_t reserved;    /* 0 */
    uint64_t argmax;      /* out, int32 [max_rows] */
    uint64_t max_logit;   /* out, float [max_rows]; 0 = none */
    uint64_t log_sum_exp; /* out, float [max_rows] */
    uint64_t top_ids;     /* out, int32 [max_rows, k]; 0 when k = 0 */
    uint64_t top_logits;  /* out, float [max_rows, k]; 0 when k = 0 */
    trib_tensor logits;   /* out, [max_rows, V] F32; address 0 = none */
    uint64_t workspace;
    uint64_t workspace_bytes;
} trib_lm_head_params;
TRIB_API trib_status trib_lm_head(trib_context* context, const trib_lm_head_params* params);

/* The k largest of each row, descending, ties to the lower id, of rows i < *row_count. */
typedef struct trib_top_k_params {
    uint32_t struct_size;
    uint32_t k;          /* 1 … TRIB_MAX_TOP_K */
    trib_tensor logits;  /* [max_rows, V] F32 */
    uint64_t row_count;  /* int32 [1] */
    uint64_t top_ids;    /* out, int32 [max_rows, k] */
    uint64_t top_logits; /* out, float [max_rows, k] */
    uint64_t workspace;
    uint64_t workspace_bytes;
} trib_top_k_params;
TRIB_API trib_status trib_top_k(trib_context* context, const trib_top_k_params* params);

/*
 * Verification. For each active sequence the target's choice is made at the rows that the walk meets: greedy, or
 * Gumbel-max, y = argmax(logit/temperature − log E) over the tokens that pass top-k, top-p and min-p (in this order,
 * each on what the one before left; fp32; ties to the lowest id), E = −log1p(−w), w = (x + ½)·2⁻³², x = word 0 of Philox-4x32-10 with
 * key = seed and counter = (generated + depth, token id, purpose 0, choice). So a draw depends on seed, position and
 * token only, never on the tree.
 *
 * In order: bias, penalties (trib_token_adjustment), allowed tokens, temperature, top-k, top-p, min-p. A greedy choice is
 * the argmax of what the first three leave. All of it is a function of the text up to the row, so it is what plain
 * decoding chooses there.
 *
 * Walk: from the root descend while the choice is the token of a surviving child; the path holds the accepted nodes,
 * the root first; the bonus is the choice at the last of them. For a causal sequence the path is empty and the bonus is
 * the choice at its last main row. A token of zero probability is never chosen.
 *
 * Typical acceptance gives that up for longer paths: where the choice is no surviving child's token, the walk descends
 * to the child of greatest probability p (ties to the lower token) if p > min(ε, δ·exp(−H)), with p and the entropy H of softmax(logit/temperature)
 * over allowed tokens, before the filters. The text may then differ from plain decoding's.
 *
 * log_probability holds, for entry i of the path, that of the token which follows it: the next entry's, or behind the
 * last the bonus; logit − log_sum_exp of the logits as lm_head gave them, before bias, penalties and mask. For a causal
 * sequence entry 0 is the bonus's.
 */
typedef struct trib_verify_tree_params {
    uint32_t struct_size;
    /* Rows of sequences that have adjustments, allowed tokens or typical acceptance, whose logits are wanted, are at
     * most this many; 0 = there are none, and those members are ignored. */
    uint32_t max_adjusted_rows;
    const trib_step* step;
    uint64_t sampling;       /* trib_sampling [S] */
    uint64_t row_logits;     /* int32 [R]: where in argmax and logits a main row's results stand, −1 = nowhere; 0 = row r at r */
    uint64_t argmax;         /* int32 [*] from lm_head */
    trib_tensor logits;      /* [*, V] F32; address 0 = every active sequence is greedy and none has adjusted rows */
    uint64_t accepted_count; /* out, int32 [S] */
    uint64_t accepted_node;  /* out, int32 [S, TRIB_MAX_PATH] */
    uint64_t accepted_row;   /* out, int32 [S, TRIB_MAX_PATH]; causal: entry 0 = the last main row */
    uint64_t bonus;          /* out, int32 [S]; −1 for inactive sequences */
    uint64_t workspace;
    uint64_t workspace_bytes;
    uint64_t log_sum_exp;     /* float [*] from lm_head; 0 exactly when log_probability is */
    uint64_t log_probability; /* out, float [S, TRIB_MAX_PATH], 0 beyond the path; 0 = none; needs logits */
} trib_verify_tree_params;
TRIB_API trib_status trib_verify_tree(trib_context* context, const trib_verify_tree_params* params);

/*
 * Moves the K/V of accepted nodes, path[i] at slot L + path[i], to slot L + i, for every layer, through the page table.
 * The whole path is read before anything is written. Causal and inactive sequences (count 0) stay as they are.
 */
typedef struct trib_commit_path_params {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    const trib_step* step;
    trib_kv_cache cache;
    uint64_t accepted_count; /* int32 [S] */
    uint64_t accepted_node;  /* int32 [S, TRIB_MAX_PATH] */
    uint64_t workspace;
    uint64_t workspace_bytes;
} trib_commit_path_params;
TRIB_API trib_status trib_commit_path(trib_context* context, const trib_commit_path_params* params);

#ifdef __cplusplus
}
#endif

#endif /* TRIBUTARY_TRIBUTARY_H */
