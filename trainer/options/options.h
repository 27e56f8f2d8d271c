// Every setting of a worker, with its default: the config file's sections, a header each
// (launch/config/schema.cpp names the keys); a program that uses the library fills them itself.
#pragma once

#include "trainer/options/checkpoint_options.h"
#include "trainer/options/comm_options.h"
#include "trainer/options/data_options.h"
#include "trainer/options/distill_options.h"
#include "trainer/options/inner_options.h"
#include "trainer/options/log_options.h"
#include "trainer/options/lora_options.h"
#include "trainer/options/model_options.h"
#include "trainer/options/outer_options.h"
#include "trainer/options/quant_options.h"
#include "trainer/options/run_options.h"
#include "trainer/options/task_options.h"

namespace thinwire::trainer {

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
