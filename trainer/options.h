// Every setting of a worker, with its default. The config file's sections are these structs
// (launch/config/schema.cpp names the keys); a program that uses the library fills them itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thinwire::trainer {

struct RunOptions {
  std::string dir;  // the run's folder
  std::uint64_t seed = 1;
  int threads = 1;  // compute threads per worker
};

struct ModelOptions {
  std::string arch = "llama";
  std::string from;  // a run or checkpoint of ours to start from; its sizes then apply
  std::int64_t layers = 4;
  std::int64_t width = 128;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 0;   // 0: as many as heads
  std::int64_t mlp_width = 0;  // 0: 8/3 of width, rounded up to a multiple of 16
  std::int64_t context = 256;
  std::int64_t vocab = 0;  // 0: the tokenizer's
  bool tied = true;        // the head shares the embedding
};

struct DataOptions {
  std::vector<std::string> path;    // files or folders
  std::string tokenizer = "bytes";  // bytes, bpe, or a SentencePiece model file
  std::int64_t vocab_size = 1024;   // of a trained bpe
  std::string shards = "even";      // even, by_source
  double held_out = 0.02;           // share of the text kept for evaluation
  std::int64_t sequence = 128;      // tokens per training sequence
};

struct TaskOptions {
  std::string kind = "pretrain";  // pretrain, qat, lora, distill
  std::string teacher;            // distill: a run or checkpoint of ours
};

// The first rule whose `match` (a regular expression) is found in a layer's name applies to it.
struct QuantRule {
  std::string match = "blocks\\.";
  std::string weights = "int4";      // int2 int4 int8 or none
  std::string activations = "int8";  // int4 int8 or none
};

struct QuantOptions {
  std::vector<QuantRule> rule;
};

struct LoraOptions {
  std::string match = "blocks\\.";
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  std::string base = "nf4";
};

struct DistillOptions {
  std::string match = "blocks\\.";  // layers whose weights become one bit
  double temperature = 1;
  double logits = 1;  // weight of the logits loss
  double hidden = 1;  // weight of the hidden-state loss
  double labels = 0;  // weight of the cross-entropy with the text
};

struct InnerOptions {
  std::string optimizer = "adamw";  // adamw, muon, sgd
  double lr = 6e-4;
  std::vector<double> betas = {0.9, 0.95};  // adamw; sgd takes the first as momentum
  double momentum = 0.95;                   // muon: of the matrices; the rest is adamw's
  double weight_decay = 0.1;
  std::int64_t warmup = 50;         // steps
  std::string schedule = "cosine";  // cosine, constant
  double final_lr = 0.1;            // share of lr at the last step
  double clip = 1.0;                // gradient norm; 0: off
  std::int64_t skip_nonfinite = 0;  // steps in a row whose loss or gradient may be no number; 0: an error
  std::int64_t steps = 600;
  std::int64_t batch = 8;             // sequences per worker and step
  std::int64_t accumulate = 1;        // micro-batches per step; divides batch
  std::string precision = "float32";  // float32, bfloat16
};

struct OuterOptions {
  std::string method = "streaming_diloco";  // none, ddp, diloco, streaming_diloco, eager_diloco
  std::int64_t sync_every = 30;             // H, inner steps between two syncs of one parameter
  std::int64_t fragments = 4;               // of blocks; embeddings, head and final norm form one more
  std::string layout = "strided";           // strided, sequential
  std::int64_t overlap = 2;                 // tau, steps between sending a fragment and applying its result
  double alpha = 0.5;                       // weight of the local parameters at the merge
  double lr = 0.7;
  double momentum = 0.9;
  std::string codec = "e3m0";
  std::string embeddings_codec;      // of the fragment of embeddings, head and final norm; empty: codec
  std::int64_t block = 256;          // values per scale
  std::int64_t k = 64;               // topk: values kept of every chunk of 4096
  bool rotate = false;               // Hadamard rotation of each block before it is coded
  std::string rounding = "nearest";  // nearest, stochastic
  bool error_feedback = true;
  double decay = 1.0;        // of the error-feedback residual
  std::string leg = "auto";  // auto, gather, reduce
  bool final_sync = true;    // what has drifted by the last step is synced once more, without overlap
};

struct CommOptions {
  std::string backend = "threads";  // threads, mpi, grpc, nccl
  std::string link = "unlimited";
  double timeout_s = 60;
};

struct CheckpointOptions {
  std::int64_t every = 50;  // steps; 0: only at the end and on a signal
  std::int64_t keep = 3;
};

struct LogOptions {
  std::int64_t every = 10;      // steps
  std::int64_t eval_every = 0;  // steps; 0: only at the end
  bool tensorboard = true;
};

struct Options {
  RunOptions run;
  ModelOptions model;
  DataOptions data;
  TaskOptions task;
  QuantOptions quant;
  LoraOptions lora;
  DistillOptions distill;
  InnerOptions inner;
  OuterOptions outer;
  CommOptions comm;
  CheckpointOptions checkpoint;
  LogOptions log;
};

}  // namespace thinwire::trainer
