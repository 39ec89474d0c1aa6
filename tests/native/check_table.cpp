#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <vector>
#include "table.h"
#include "table_kernels.h"
#include "isa.h"
static std::mt19937_64 rng(2);
static int64_t pick(int64_t a,int64_t b){return a+int64_t(rng()%uint64_t(b-a+1));}
static int fails=0;
#define CHECK(c,...) do{if(!(c)){std::printf(__VA_ARGS__);std::printf("  [%s:%d]\n",__FILE__,__LINE__);if(++fails>10)std::exit(1);}}while(0)
static void one(int i){
  TableConv q{};auto&p=q.shape;p.n=pick(1,3);p.groups=1;int64_t depth=pick(1,12),oc=pick(1,6);
  switch(pick(0,3)){case 0:p.groups=pick(2,8);depth=1;oc=pick(1,2);break;case 1:p.groups=pick(1,3);break;case 2:depth=pick(1,200);oc=2;break;default:;}
  p.c=depth*p.groups;p.kh=pick(1,4);p.kw=pick(1,4);p.sy=pick(1,3);p.sx=pick(1,3);p.dy=pick(1,3);p.dx=pick(1,3);
  p.top=pick(0,3);p.left=pick(0,3);int64_t bottom=pick(0,3),right=pick(0,3);p.h=pick(1,14);p.w=pick(1,40);
  if(i%7==0)p.w=pick(40,120);
  p.out_height=(p.h+p.top+bottom-p.dy*(p.kh-1)-1);p.out_width=(p.w+p.left+right-p.dx*(p.kw-1)-1);
  if(p.out_height<0||p.out_width<0)return;
  p.out_height=p.out_height/p.sy+1;p.out_width=p.out_width/p.sx+1;q.threads=int(pick(1,3));
  int64_t xs=int64_t(1)<<pick(2,8),ws=int64_t(1)<<pick(1,8);bool wide=pick(0,9)==0;if(wide)xs=int64_t(1)<<pick(9,12);
  if(pick(0,3)==0)xs=pick(1,xs);
  std::vector<int64_t> t(xs*ws);int kind=int(pick(0,5));int64_t m[]={1,200,60000,15000000,4294967295LL,0};int64_t off=pick(-1000000,1000000)*pick(0,1000000);
  for(auto&v:t)v=off+(m[kind]?pick(0,m[kind]):0);
  int64_t taps=depth*p.kh*p.kw,O=oc*p.groups;std::vector<uint16_t> w(O*taps);for(auto&v:w)v=uint16_t(rng()%uint64_t(ws));
  TableWeights tw(t.data(),xs,ws,w.data(),O,taps);q.weights=&tw;
  std::vector<uint8_t> x8(p.n*p.c*p.h*p.w);std::vector<uint16_t> x16(x8.size());
  for(size_t j=0;j<x8.size();++j){x16[j]=uint16_t(rng()%uint64_t(xs));x8[j]=uint8_t(x16[j]);}
  if(xs>256)q.wide_codes=x16.data();else q.codes=x8.data();
  q.pad=uint16_t(rng()%uint64_t(xs));
  std::vector<int64_t> con(O);for(auto&v:con)v=pick(-100000,100000);q.constant=pick(0,1)?con.data():nullptr;
  std::vector<int32_t> box(p.n*p.groups*p.out_height*p.out_width);for(auto&v:box)v=int(pick(-100000,100000));q.box=pick(0,1)?box.data():nullptr;
  size_t outs=p.n*O*p.out_height*p.out_width;std::vector<float> a(outs),b(outs);std::vector<int64_t> c(outs),d(outs);
  q.out=a.data();q.integers=c.data();table_conv_reference(q,t.data(),ws,w.data());
  q.out=b.data();q.integers=d.data();table_conv(q);
  CHECK(c==d,"table %d: planes %d entries %d groups %ld taps %ld sx %ld out %ldx%ld threads %d",i,tw.planes,tw.entries,long(p.groups),long(taps),long(p.sx),long(p.out_height),long(p.out_width),q.threads);
  CHECK(a==b,"table float %d",i);
  std::vector<float> scale(O),values(x8.size());for(auto&v:scale)v=float(pick(1,999))/777;q.scale=scale.data();
  for(auto&v:values)v=float(pick(-9999,9999))*0.0137f;q.values=values.data();q.codes=nullptr;q.wide_codes=nullptr;
  q.quantization={float(pick(1,99))*0.01f,int(pick(0,xs-1)),0,int(xs-1)};
  q.out=a.data();q.integers=nullptr;table_conv_reference(q,t.data(),ws,w.data());
  q.out=b.data();table_conv(q);
  CHECK(a==b,"table layer %d",i);
}
static void extreme(){ // K = 73,728 of the largest entry: an accumulator far beyond 2^31, with no wrap
  for(int64_t top:{65535LL,4294967295LL}){int64_t K=73728;std::vector<int64_t> t(256*2,0);for(int x=0;x<256;++x){t[2*x]=x==255?top:0;t[2*x+1]=x==255?top-1:1;}
  std::vector<uint16_t> w(K,0);w[5]=1;TableWeights tw(t.data(),256,2,w.data(),1,K);std::vector<uint8_t> x(K*3,255);
  TableConv p{};p.shape={1,K,1,3,1,1,1,1,1,1,1,0,0,1,3};p.codes=x.data();p.weights=&tw;p.threads=1;std::vector<int64_t> o(3);p.integers=o.data();table_conv(p);
  for(auto v:o)CHECK(v==top*(K-1)+top-1,"extreme %ld %ld",long(v),long(top));}
  try{std::vector<int64_t> t{0,1LL<<32};uint16_t w=0;TableWeights tw(t.data(),2,1,&w,1,1);CHECK(false,"no throw");}catch(const std::invalid_argument&){}
  try{std::vector<int64_t> t{0,1};uint16_t w=1;TableWeights tw(t.data(),2,1,&w,1,1);CHECK(false,"no throw");}catch(const std::invalid_argument&){}
}
int main(int argc,char**argv){int n=argc>1?std::atoi(argv[1]):500;for(int i=0;i<n;++i)one(i);extreme();std::printf("table: %s, %d failures\n",isa_name(chosen_isa()),fails);return fails!=0;}
